"""What a mail says: composed from a row, in every language, the same each time, whatever people call themselves."""

import email
import re
from dataclasses import asdict
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from typing import Any

import pytest

from authsvc.core.crypto import Keyring, new_id
from authsvc.core.locales import ENGLISH, LOCALES, SIMPLIFIED, TRADITIONAL
from authsvc.core.settings import DAY, Settings
from authsvc.domain import links, mails
from authsvc.domain.jobs import Job
from authsvc.domain.mails import TEMPLATES, Mail
from authsvc.jobs.letter import compose
from tests.conftest import make_settings

KEYRING = Keyring((b"k" * 32,))
AT = 1_795_442_400  # 2026-11-23 14:00 UTC
PURPOSES = {
    mails.VERIFY_EMAIL: links.VERIFY,
    mails.RESET_PASSWORD: links.RESET,
    mails.CHANGE_EMAIL: links.CHANGE_EMAIL,
    mails.NEW_DEVICE: links.NOT_ME,
    mails.ACCOUNT_DELETION: links.KEEP,
}
HOSTILE = (
    '<img src=https://evil.example/x onerror="x()">{{ 7*7 }} %(site)s\r\nBcc: eve@evil.example\u202e\u2066\u200b\u2028&'
)


def a_job(template: str, locale: str = ENGLISH, *, to: str = "anna@example.org", name: str = "Anna") -> Job:
    link = (new_id(), PURPOSES[template]) if template in PURPOSES else None
    facts = {"name": name, "device": name, "ip": "192.0.2.1", "at": AT, "email": "new@example.org", "due": AT + DAY}
    data = asdict(Mail(template, to, locale, link, facts))
    return Job(new_id(), "mail", None, data, AT, AT, 1, 0, None, None, None, None)


def composed(job: Job, **given: Any) -> EmailMessage:
    """The mail as its recipient's program reads it."""
    content = compose(job, settings(**given), KEYRING).as_bytes()
    return email.message_from_bytes(content, policy=default)  # type: ignore[return-value]


def settings(**given: Any) -> Settings:
    return make_settings(**{"public_url": "https://login.example.org", **given})


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content


every_mail = pytest.mark.parametrize("template", TEMPLATES)
every_language = pytest.mark.parametrize("locale", LOCALES)


@every_mail
@every_language
@pytest.mark.promise("L4")
def test_the_same_job_gives_the_same_bytes_whenever_it_is_tried(template: str, locale: str) -> None:
    job = a_job(template, locale)
    first = compose(job, settings(), KEYRING).as_bytes()
    assert compose(job, settings(), KEYRING).as_bytes() == first
    assert first.count(b"\r\n") == first.count(b"\n")
    assert max(map(len, first.split(b"\r\n"))) <= 998


@every_mail
@every_language
def test_every_mail_is_complete_in_every_language(template: str, locale: str) -> None:
    job = a_job(template, locale)
    message = composed(job)
    text, html = body(message, "plain"), body(message, "html")
    assert message["Message-ID"] == f"<{job.id}@login.example.org>"
    assert message["From"] == "no-reply@login.example.org"
    assert message["To"] == "anna@example.org"
    assert message["Date"] == "Mon, 23 Nov 2026 14:00:00 +0000"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Content-Language"] == locale.replace("_", "-")
    assert "login.example.org" in message["Subject"]
    assert not message.defects
    assert f'<html lang="{locale.replace("_", "-")}">' in html
    for part in (text, html):
        assert "None" not in part
        assert not re.search(r"[{}%]\(|[{]{2}|[{]%", part)


@pytest.mark.parametrize(("template", "purpose"), PURPOSES.items())
def test_link_and_code_stand_in_both_parts(template: str, purpose: str) -> None:
    job = a_job(template)
    message, link_id = composed(job), job.data["link"][0]
    link = f"?token={links.token(KEYRING, link_id, purpose)}"
    for part in (body(message, "plain"), body(message, "html")):
        assert link in part
        assert (links.code(KEYRING, link_id, purpose) in part) == (purpose in links.WITH_CODE)


@pytest.mark.parametrize(
    ("template", "until"),
    [
        (mails.VERIFY_EMAIL, ["November 23, 2026, 14:10 UTC", "November 24, 2026, 14:00 UTC"]),
        (mails.RESET_PASSWORD, ["November 23, 2026, 14:10 UTC", "November 23, 2026, 15:00 UTC"]),
        (mails.ACCOUNT_DELETION, ["link works until November 24, 2026, 14:00 UTC"]),
    ],
)
def test_a_mail_says_until_when_its_link_and_code_work_so_that_it_is_true_when_it_comes_late(
    template: str, until: list[str]
) -> None:
    text = body(composed(a_job(template)), "plain")
    assert all(moment in text for moment in until)


def test_dates_are_written_as_people_of_a_language_write_them() -> None:
    assert "2026年11月23日 14:00 UTC" in body(composed(a_job(mails.PASSWORD_CHANGED, SIMPLIFIED)), "plain")
    assert "2026年11月23日 14:00 UTC" in body(composed(a_job(mails.PASSWORD_CHANGED, TRADITIONAL)), "plain")


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


@every_mail
@every_language
@pytest.mark.promise("B8")
def test_a_hostile_name_stays_a_name(template: str, locale: str) -> None:
    message, harmless = composed(a_job(template, locale, name=HOSTILE)), composed(a_job(template, locale))
    html = body(message, "html")
    assert message.keys() == harmless.keys()
    assert Tags(html).seen == Tags(body(harmless, "html")).seen
    assert Tags(html).attributes == Tags(body(harmless, "html")).attributes
    for text in (html, body(message, "plain"), message["Subject"]):
        assert not set(text) & set("\u202e\u2066\u200b\u2028\0")
        assert "49" not in re.sub(r"token=\S+|\d{6}", "", text).replace(HOSTILE, "")


@every_mail
def test_a_mail_loads_nothing_from_anywhere(template: str) -> None:
    html = body(composed(a_job(template)), "html")
    assert not Tags(html).seen & {"img", "link", "script", "iframe", "object"}
    assert "url(" not in html
    assert "@import" not in html


@pytest.mark.parametrize("template", [mails.VERIFY_EMAIL, mails.CHANGE_EMAIL])
@every_language
def test_nobody_can_have_us_write_their_words_to_a_stranger(template: str, locale: str) -> None:
    said = composed(a_job(template, locale, name="Win at evil.example")).as_string()
    assert "evil.example" not in said


def test_the_sender_is_who_the_operator_says() -> None:
    job = a_job(mails.VERIFY_EMAIL)
    message = composed(job, mail_from='"Example, Inc." <login@example.org>')
    assert message["From"].addresses[0].display_name == "Example, Inc."
    assert message["Message-ID"] == f"<{job.id}@example.org>"


@pytest.mark.parametrize(
    ("to", "header"),
    [
        ("anna@bücher.example", b"To: anna@xn--bcher-kva.example\r\n"),
        ("jörg@example.org", "To: jörg@example.org\r\n".encode()),
        (f"{'a' * 64}@{'b' * 60}.{'c' * 60}.example.org", b"a" * 64),
    ],
)
def test_any_address_that_can_register_can_be_written_to(to: str, header: bytes) -> None:
    message = compose(a_job(mails.VERIFY_EMAIL, to=to), settings(), KEYRING)
    assert header in message.as_bytes()
    assert b"=?" not in message.as_bytes().partition(b"Subject:")[0]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://[::1]:8000", f"https://{'login.' * 12}example.org"])
def test_a_message_id_has_one_line_wherever_the_service_is(url: str) -> None:
    job = a_job(mails.VERIFY_EMAIL)
    content = compose(job, settings(public_url=url), KEYRING).as_bytes()
    assert re.search(rb"\r\nMessage-ID: *(\r\n )?<" + job.id.encode() + rb"@[^\s>]+>\r\n", content)


def test_a_locale_that_we_do_not_speak_is_english() -> None:
    assert "Confirm" in composed(a_job(mails.VERIFY_EMAIL, "xx_YY"))["Subject"]
