"""Mails through a real server, friendly or not: sent once it takes them, tried again for what passes, given up only for
what the server says for good about the recipient or the message."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from authsvc.domain import jobs, links, mails
from authsvc.domain.accounts import Account
from authsvc.domain.jobs import Hopeless, Job, TryLater
from authsvc.domain.links import Proof
from authsvc.domain.sessions import Origin
from authsvc.jobs.mail import Reply, deliver, is_loopback
from authsvc.models import User
from authsvc.services import Services
from tests.conftest import PASSWORD
from tests.mailed import mails_to, token
from tests.smtp import CUT, DATA, EHLO, MAIL, RCPT, STALL, SmtpServer, answering, certificate, greylisting, smtp_server

HOST = "mail.example.org"  # beyond loopback by its name
LOGIN = ("authsvc", "pass:w@rd/")


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What a mail server says does not depend on the database."""
    return sqlite_url


@pytest.fixture(name="services")
def services_with_mail(make_services: Callable[..., Services], smtp_server: SmtpServer) -> Services:
    return make_services(smtp_url=SecretStr(smtp_server.url))


@pytest.fixture
def hasty(make_services: Callable[..., Services], smtp_server: SmtpServer) -> Services:
    """The same with a second for each mail."""
    return make_services(smtp_url=SecretStr(smtp_server.url), job_limit=2)


@pytest.fixture
def anna(services: Services) -> Account:
    return services.accounts.create("anna@example.org", services.hasher.hash(PASSWORD), name="Anna")


def registered(services: Services, email: str = "new@example.org") -> Job:
    """The mail that a registration orders."""
    services.registration.register(email, PASSWORD, name="", locale="en", origin=Origin("192.0.2.1", "Firefox"))
    return newest(services)


def forgotten(services: Services, email: str = "anna@example.org") -> Job:
    services.recovery.forgot(email, "192.0.2.1")
    return newest(services)


def newest(services: Services) -> Job:
    return [job for job in services.jobs.listed(dead=False) if job.kind == jobs.MAIL][-1]


def refused_at(services: Services) -> int | None:
    with services.db.reading() as sql:
        return sql.scalar(select(User.email_refused_at))


@pytest.mark.promise("L4")
def test_a_mail_arrives_with_its_own_id_and_a_link_that_works(services: Services, smtp_server: SmtpServer) -> None:
    job = registered(services)
    deliver(job, services)
    [mail] = smtp_server.accepted
    assert (mail.to, mail.id) == ("new@example.org", f"<{job.id}@127.0.0.1>")
    [ordered] = mails_to(services, "new@example.org")
    assert token(services, ordered) in mail.message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    services.registration.verify(Proof(token(services, ordered)))


@pytest.mark.promise("L4")
def test_a_mail_that_is_sent_again_is_the_same_mail(services: Services, smtp_server: SmtpServer) -> None:
    job = registered(services)
    smtp_server.answer = answering(DATA, CUT, times=1)
    with pytest.raises(TryLater):
        deliver(job, services)
    deliver(job, services)
    first, second = smtp_server.accepted
    assert first == second
    assert smtp_server.counts == {f"<{job.id}@127.0.0.1>": 2}


def test_an_address_beyond_ascii_gets_its_mail(services: Services, smtp_server: SmtpServer) -> None:
    deliver(registered(services, "jörg@bücher.example"), services)
    assert [mail.to for mail in smtp_server.accepted] == ["jörg@xn--bcher-kva.example"]


# -- what passes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        answering(MAIL, "421 4.3.2 Shutting down"),
        answering(MAIL, "451 4.3.0 Later"),
        answering(MAIL, "553 5.1.8 We do not know this sender"),
        answering(RCPT, "450 4.2.0 Later"),
        answering(RCPT, "530 5.7.0 Authentication required"),
        answering(RCPT, "550 5.7.1 Relaying denied"),
        answering(DATA, "452 4.3.1 Disk full"),
        answering(DATA, "550 5.7.26 Your domain has no SPF"),
        answering(EHLO, CUT),
        answering(RCPT, CUT),
    ],
)
@pytest.mark.promise("L5")
def test_what_passes_or_is_our_fault_is_tried_again(
    services: Services, smtp_server: SmtpServer, anna: Account, answer: Any
) -> None:
    smtp_server.answer = answer
    job = forgotten(services)
    with pytest.raises(TryLater):
        deliver(job, services)
    assert refused_at(services) is None
    smtp_server.answer = answering(EHLO, "250 HELP", times=0)
    deliver(job, services)
    assert len(smtp_server.accepted) == 1


def test_a_greylisted_mail_is_taken_at_the_second_try(services: Services, smtp_server: SmtpServer) -> None:
    smtp_server.answer = greylisting()
    job = registered(services)
    with pytest.raises(TryLater, match=r"451 4\.7\.1"):
        deliver(job, services)
    deliver(job, services)
    assert set(smtp_server.counts.values()) == {1}


@pytest.mark.parametrize("step", [EHLO, RCPT, DATA])
@pytest.mark.promise("L5")
def test_a_server_that_stalls_holds_nobody_longer_than_half_the_limit(
    hasty: Services, smtp_server: SmtpServer, step: str
) -> None:
    smtp_server.answer = answering(step, STALL)
    with pytest.raises(TryLater):
        deliver(registered(hasty), hasty)
    assert smtp_server.accepted == []


@pytest.mark.promise("L5")
def test_a_server_that_is_slow_at_every_step_is_left_when_the_time_for_all_of_them_is_over(
    hasty: Services, smtp_server: SmtpServer
) -> None:
    smtp_server.answer = lambda _step, _to: time.sleep(0.4)
    with pytest.raises(TryLater):
        deliver(registered(hasty), hasty)
    assert smtp_server.accepted == []


def test_a_server_that_says_nothing_at_all_is_left(make_services: Callable[..., Services]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = SecretStr(f"smtp://127.0.0.1:{silent.getsockname()[1]}")
        services = make_services(smtp_url=url, job_limit=2)
        with pytest.raises(TryLater):
            deliver(registered(services), services)


def test_a_mail_that_was_taken_is_done_whatever_comes_of_the_goodbye(
    services: Services, smtp_server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang_up(server: Any, *_: Any) -> str:
        server.transport.abort()
        return "221 Bye"

    monkeypatch.setattr(smtp_server, "handle_QUIT", hang_up, raising=False)
    deliver(registered(services), services)
    assert len(smtp_server.accepted) == 1


def test_mails_wait_while_the_server_is_down_or_there_is_none(
    services: Services, smtp_server: SmtpServer, make_services: Callable[..., Services]
) -> None:
    job = registered(services)
    smtp_server.stop()
    with pytest.raises(TryLater, match="ConnectionRefusedError"):
        deliver(job, services)
    with pytest.raises(TryLater, match="AUTHSVC_SMTP_URL"):
        deliver(job, make_services(smtp_url=SecretStr("")))
    smtp_server.start()
    deliver(job, services)
    assert len(smtp_server.accepted) == 1


# -- what does not pass ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [answering(RCPT, "550 5.1.1 No such user"), answering(RCPT, "553 no"), answering(DATA, "554 5.6.0 Not this one")],
)
@pytest.mark.promise("L5")
def test_a_refusal_for_good_ends_the_mail_and_marks_the_address(
    services: Services, smtp_server: SmtpServer, anna: Account, answer: Any
) -> None:
    smtp_server.answer = answer
    with pytest.raises(Hopeless):
        deliver(forgotten(services), services)
    assert refused_at(services) is not None
    assert smtp_server.accepted == []


def test_only_the_address_that_was_refused_is_marked(services: Services, anna: Account) -> None:
    services.accounts.email_refused(anna.id, "before@example.org")
    assert refused_at(services) is None


@pytest.mark.parametrize(
    ("code", "text", "for_good", "shown"),
    [
        (550, b"5.1.1 <anna@example.org>: no such user", True, "550 5.1.1"),
        (550, b"no such user", True, "550"),
        (550, b"5.7.1 Relaying denied", False, "550 5.7.1"),
        (535, b"5.7.8 bad credentials", False, "535 5.7.8"),
        (451, b"4.7.1 later", False, "451 4.7.1"),
        (250, "2.0.0 OK", False, "250 2.0.0"),
        (-1, b"\xff", False, "-1"),
    ],
)
def test_a_reply_is_for_good_or_not_and_shown_without_its_words(
    code: int, text: bytes | str, for_good: bool, shown: str
) -> None:
    assert (Reply(code, text).for_good, str(Reply(code, text))) == (for_good, shown)


# -- what nobody wants any more ----------------------------------------------------------------------------------------


def test_a_link_that_was_used_or_replaced_is_not_sent_any_more(
    services: Services, smtp_server: SmtpServer, anna: Account
) -> None:
    first = forgotten(services)
    second = forgotten(services)
    with services.db.transaction() as sql:
        links.void(sql, anna.id, services.store.clock(), links.RESET)
    for job in (first, second):
        deliver(job, services)
    assert smtp_server.accepted == []


def test_an_account_that_is_kept_is_not_told_of_its_end(
    services: Services, smtp_server: SmtpServer, anna: Account
) -> None:
    services.deletions.ask(anna.id)
    job = newest(services)
    services.deletions.keep(anna.id)
    deliver(job, services)
    assert smtp_server.accepted == []


def test_a_link_that_has_expired_is_not_sent_any_more(services: Services, smtp_server: SmtpServer) -> None:
    job = registered(services)
    clock = services.store.clock
    services.store.clock = lambda: clock() + links.LIFE[links.VERIFY]
    deliver(job, services)
    assert smtp_server.accepted == []


def test_a_mail_without_a_link_is_sent_however_late(services: Services, smtp_server: SmtpServer, anna: Account) -> None:
    registered(services, anna.email)  # which is taken, so its owner is told
    job = newest(services)
    assert job.data["template"] == mails.ALREADY_REGISTERED
    clock = services.store.clock
    services.store.clock = lambda: clock() + 30 * 86400
    deliver(job, services)
    assert [mail.to for mail in smtp_server.accepted] == [anna.email]


# -- TLS and login -----------------------------------------------------------------------------------------------------


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the mail server leads to this machine."""
    real = socket.getaddrinfo

    def resolve(host: Any, *more: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host == HOST else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def trusted(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """As an operator has OpenSSL trust an authority of their own."""
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


def delivered_by(make_services: Callable[..., Services], url: str) -> Services:
    services = make_services(smtp_url=SecretStr(url), job_limit=20)
    deliver(registered(services), services)
    return services


@pytest.mark.parametrize("smtps", [False, True])
def test_a_server_elsewhere_is_spoken_to_under_tls(
    make_services: Callable[..., Services], far_away: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smtps: bool
) -> None:
    made = certificate(tmp_path, HOST)
    trusted(monkeypatch, made.file)
    with smtp_server(tls=made.server, smtps=smtps) as server:
        delivered_by(make_services, f"{'smtps' if smtps else 'smtp'}://{HOST}:{server.port}")
        assert len(server.accepted) == 1


@pytest.mark.parametrize("smtps", [False, True])
@pytest.mark.parametrize("name", [None, "other.example.org"])
def test_a_certificate_of_somebody_else_or_of_nobody_known_is_not_taken(
    make_services: Callable[..., Services], far_away: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    smtps: bool, name: str | None,
) -> None:  # fmt: skip
    made = certificate(tmp_path, name or HOST)
    if name:
        trusted(monkeypatch, made.file)
    with smtp_server(tls=made.server, smtps=smtps) as server:
        with pytest.raises(TryLater, match="TLS"):
            delivered_by(make_services, f"{'smtps' if smtps else 'smtp'}://{HOST}:{server.port}")
        assert server.accepted == []


def test_without_tls_nothing_is_said_to_a_server_elsewhere(
    make_services: Callable[..., Services], far_away: None, smtp_server: SmtpServer
) -> None:
    with pytest.raises(TryLater, match="STARTTLS"):
        delivered_by(make_services, f"smtp://authsvc:secret-of-ours@{HOST}:{smtp_server.port}")
    assert smtp_server.accepted == []


def test_a_login_is_used_and_its_secret_is_in_no_reason(
    make_services: Callable[..., Services], far_away: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificate(tmp_path, HOST)
    trusted(monkeypatch, made.file)
    with smtp_server(tls=made.server, login=LOGIN) as server:
        delivered_by(make_services, f"smtp://authsvc:pass%3Aw%40rd%2F@{HOST}:{server.port}")
        assert len(server.accepted) == 1
        with pytest.raises(TryLater, match="login: 535") as failed:
            delivered_by(make_services, f"smtp://authsvc:wrong-secret@{HOST}:{server.port}")
        assert "wrong-secret" not in str(failed.value)
        with pytest.raises(TryLater, match="ASCII") as failed:
            delivered_by(make_services, f"smtp://authsvc:wr%C3%B6ng@{HOST}:{server.port}")
        assert "wröng" not in str(failed.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), (HOST, False)],
)
def test_what_stays_on_this_machine_needs_no_tls(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
