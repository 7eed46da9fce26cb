"""Kills between commit, claim, message, attempt and mark cost no mail, and send none that nobody asked for."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from authsvc.domain import jobs
from authsvc.domain.sessions import Origin
from authsvc.jobs.celery import PREFIX
from authsvc.models import Job
from authsvc.runner import Child
from authsvc.services import Services
from tests.conftest import PASSWORD
from tests.jobs.dying import POINTS
from tests.servers import Valkey, wait_for
from tests.smtp import SmtpServer
from tests.system.stack import environment

EMMA = "emma@example.org"


class CrashError(Exception):
    """The process dies here."""


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What differs between databases is shown in tests/domain/test_jobs.py."""
    return sqlite_url


@pytest.fixture
def env(services: Services, smtp_server: SmtpServer) -> dict[str, str]:
    settings = services.settings
    return environment(
        instance=settings.instance, public_url=settings.public_url, database_url=settings.database_url,
        redis_url=settings.redis_url, secret_keys=settings.secret_keys[0].get_secret_value(),
        smtp_url=smtp_server.url, job_limit=2,
    )  # fmt: skip


@contextmanager
def kept_alive(env: dict[str, str], log: Path, *command: str) -> Iterator[None]:
    """A process of ours that is started again whenever it is killed."""

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            return subprocess.Popen(
                (sys.executable, "-m", *command), stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=env,
                start_new_session=True,
            )  # fmt: skip

    child = Child("worker", start, patience=5)
    child.start()
    try:
        yield
    finally:
        child.stop()
        sys.stdout.write(log.read_text())


def register(services: Services, email: str = EMMA) -> None:
    services.registration.register(email, PASSWORD, name="", locale="en", origin=Origin("192.0.2.1", "Firefox"))


def all_jobs_done(services: Services) -> bool:
    with services.db.reading() as sql:
        return sql.scalar(select(Job.id).where(*jobs.OPEN).limit(1)) is None


def no_message_left(valkey: Valkey) -> bool:
    """No job is with a worker or on its way to one, so nothing more is going to happen."""
    with valkey.client() as client:
        held: Any = client.hlen(f"{PREFIX}unacked")
        return held == 0 and not any(client.llen(f"{PREFIX}{queue}") for queue in jobs.QUEUES)


@pytest.mark.promise("L4")
@pytest.mark.parametrize(
    ("point", "whom"),
    [*((point, "worker") for point in POINTS), *((point, "process") for point in ("begun", "sent", "marked"))],
)
def test_a_kill_at_any_point_of_its_way_costs_no_mail(
    point: str, whom: str, services: Services, valkey: Valkey, smtp_server: SmtpServer, env: dict[str, str],
    tmp_path: Path,
) -> None:  # fmt: skip
    register(services)
    mark = tmp_path / "killed"
    with kept_alive(env, tmp_path / "worker.log", "tests.jobs.dying", point, whom, str(mark)):
        wait_for(lambda: mark.exists() and all_jobs_done(services) and no_message_left(valkey), seconds=30)

    sent = smtp_server.to(EMMA)
    assert len(sent) == (2 if point == "sent" else 1)
    assert len({mail.content for mail in sent}) == 1  # a mail that comes twice is the same mail


@pytest.mark.promise("L4")
def test_a_kill_between_the_commit_and_the_bell_costs_no_mail_and_one_before_the_commit_sends_none(
    services: Services, valkey: Valkey, smtp_server: SmtpServer, env: dict[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def crash(*_: object, **__: object) -> None:
        raise CrashError

    with monkeypatch.context() as patched, suppress(CrashError):
        patched.setattr(services.jobs, "wake", crash)
        register(services)
    with monkeypatch.context() as patched, suppress(CrashError):
        patched.setattr("authsvc.domain.mails.add", _adds_and_dies)
        register(services, "rolled-back@example.org")

    with kept_alive(env, tmp_path / "worker.log", "authsvc.cli", "worker"):
        wait_for(lambda: smtp_server.to(EMMA) and all_jobs_done(services) and no_message_left(valkey), seconds=30)

    assert [mail.to for mail in smtp_server.accepted] == [EMMA]


def _adds_and_dies(*given: Any, **named: Any) -> None:
    from authsvc.domain.jobs import add

    sql, mail, now = given
    add(sql, jobs.MAIL, now, data={"to": mail.to})
    raise CrashError


@pytest.mark.promise("L5")
def test_an_address_that_is_refused_for_good_is_a_dead_letter_and_holds_up_nobody(
    services: Services, smtp_server: SmtpServer, env: dict[str, str], tmp_path: Path
) -> None:
    smtp_server.answer = lambda _, to: "550 5.1.1 No such mailbox" if to.startswith("nobody") else None
    for number in range(5):
        register(services, f"nobody{number}@example.org")
        register(services, f"emma{number}@example.org")

    with kept_alive(env, tmp_path / "worker.log", "authsvc.cli", "worker"):
        wait_for(lambda: all_jobs_done(services), seconds=30)

    assert len(smtp_server.accepted) == 5
    dead = services.jobs.listed(dead=True)
    assert len(dead) == 5
    assert {job.error for job in dead} == {"The mail server refused the recipient for good: 550 5.1.1."}
