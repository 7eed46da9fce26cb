"""The mail server of `authsvc run`."""

import smtplib
import stat
import subprocess
import sys
import threading
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from authsvc import mailbox as box
from authsvc.mailbox import keep, mailbox, read


def a_mail(subject: str = "Hello", text: str = "Open https://login.example.org/verify-email?token=abc_-1 now") -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "no-reply@example.org", "anna@example.org", subject
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p>", subtype="html")
    return message.as_bytes()


def connected(url: str) -> smtplib.SMTP:
    parts = urlsplit(url)
    return smtplib.SMTP(str(parts.hostname), parts.port or 0, local_hostname="test", timeout=10)


def send(url: str, content: bytes) -> None:
    with connected(url) as smtp:
        smtp.sendmail("no-reply@example.org", ["anna@example.org"], content)


def test_what_is_sent_can_be_read_newest_first(tmp_path: Path) -> None:
    folder = tmp_path / "instance" / "mailbox"
    with mailbox(folder) as url:
        send(url, a_mail("Grüße", "First: https://a.example/x?token=1 and https://a.example/x?token=1"))
        send(url, a_mail("第二封"))
    second, first = read(folder)
    assert (first.subject, second.subject) == ("Grüße", "第二封")
    assert first.to == "anna@example.org"
    assert first.links == ("https://a.example/x?token=1",)
    assert second.text == "Open https://login.example.org/verify-email?token=abc_-1 now\n"
    assert second.html.startswith("<p>Open")
    assert first.at <= second.at
    assert first.id < second.id


def test_nobody_else_on_the_machine_can_read_it(tmp_path: Path) -> None:
    with mailbox(tmp_path / "mailbox") as url:
        assert url.startswith("smtp://127.0.0.1:")
        send(url, a_mail())
    assert stat.S_IMODE((tmp_path / "mailbox").stat().st_mode) == 0o700


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    for number in range(box.KEPT + 3):
        keep(tmp_path, a_mail(str(number)))
    subjects = [mail.subject for mail in read(tmp_path)]
    assert subjects == [str(number) for number in range(box.KEPT + 2, 2, -1)]


def test_mails_at_the_same_moment_are_all_kept_and_none_is_read_half(tmp_path: Path) -> None:
    with mailbox(tmp_path) as url:
        senders = [threading.Thread(target=send, args=(url, a_mail(str(number)))) for number in range(20)]
        for sender in senders:
            sender.start()
        while any(sender.is_alive() for sender in senders):
            assert all(mail.text.endswith("now\n") for mail in read(tmp_path))
        for sender in senders:
            sender.join()
    assert {mail.subject for mail in read(tmp_path)} == {str(number) for number in range(20)}


def test_a_mail_that_cannot_be_kept_is_to_be_sent_again(tmp_path: Path) -> None:
    (tmp_path / "mailbox").touch()
    with mailbox(tmp_path / "mailbox") as url:
        with pytest.raises(smtplib.SMTPDataError, match="452"):
            send(url, a_mail())
        (tmp_path / "mailbox").unlink()
        send(url, a_mail())
    assert len(read(tmp_path / "mailbox")) == 1


def test_a_sender_that_stays_connected_does_not_keep_it_from_stopping(tmp_path: Path) -> None:
    with mailbox(tmp_path) as url:
        smtp = connected(url)
        smtp.ehlo("test")
    with pytest.raises((smtplib.SMTPException, OSError)):
        smtp.noop()
    smtp.close()
    with pytest.raises(OSError, match="refused"):
        send(url, a_mail())


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\r\n", b"Subject: =?x?q?=ff?=\r\nContent-Type: text/plain; charset=nope\r\n\r\n\xff"]
)
def test_no_mail_is_too_odd_to_be_read(tmp_path: Path, content: bytes) -> None:
    keep(tmp_path, content)
    assert len(read(tmp_path)) == 1


def test_an_empty_mailbox_and_none_have_no_mails(tmp_path: Path) -> None:
    assert read(tmp_path) == read(tmp_path / "none") == []


def test_the_library_is_read_only_when_a_mail_comes(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from authsvc.mailbox import mailbox\n"
        f"with mailbox(Path({str(tmp_path)!r})): sys.exit('aiosmtpd' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
