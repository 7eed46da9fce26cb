"""One stack of each kind for all tests that leave it standing; a fresh one for those that kill things."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.servers import Postgres
from tests.smtp import SmtpServer, smtp_server
from tests.system.guards import Guarded, guarding
from tests.system.parts import installed, parts
from tests.system.stack import Run, Stack


@pytest.fixture(scope="session")
def _short_folder() -> Iterator[Path]:
    """A socket's path must be short, and those of pytest are long."""
    folder = Path(tempfile.mkdtemp(prefix="authsvc-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _run_stack(_short_folder: Path) -> Iterator[Stack]:
    with _running(_short_folder / "run") as stack:
        yield stack
        assert "Traceback" not in stack.logs()


@pytest.fixture(scope="session")
def _run_smtp_stack(_short_folder: Path) -> Iterator[Stack]:
    with smtp_server() as mails, _running(_short_folder / "smtp", mails) as stack:
        yield stack
        assert "Traceback" not in stack.logs()


@pytest.fixture(scope="session")
def _parts_stack(_short_folder: Path, postgres: Postgres) -> Iterator[Stack]:
    with _apart(_short_folder / "parts", postgres) as stack:
        yield stack
        assert "Traceback" not in stack.logs()


@contextmanager
def _running(folder: Path, mails: SmtpServer | None = None) -> Iterator[Stack]:
    folder.mkdir()
    run = Run(folder, mail_server=mails)
    try:
        yield run.start()
    finally:
        run.end()


@contextmanager
def _apart(folder: Path, postgres: Postgres) -> Iterator[Stack]:
    folder.mkdir()
    redis_server, nginx, _ = installed("redis-server"), installed("nginx"), installed("openssl")
    name = postgres.create()
    try:
        with smtp_server() as mails, parts(folder, postgres.url(name), redis_server, nginx, mails) as stack:
            yield stack
    finally:
        postgres.drop(name)


@pytest.fixture(params=["run", "parts"])
def stack(request: pytest.FixtureRequest) -> Stack:
    """The service, once as `authsvc run` and once as its parts behind nginx. Tests may ask for `run_smtp` as well: the
    former with a mail server of somebody else."""
    started: Stack = request.getfixturevalue(f"_{request.param}_stack")
    return started


@pytest.fixture(params=["run_smtp", "parts"])
def doomed(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The two with a mail server, one of its own for each test, which may kill its parts."""
    folder = Path(tempfile.mkdtemp(prefix="authsvc-"))
    with ExitStack() as started:
        started.callback(shutil.rmtree, folder)
        if request.param == "parts":
            stack = started.enter_context(_apart(folder / "parts", request.getfixturevalue("postgres")))
        else:
            stack = started.enter_context(_running(folder / "run", started.enter_context(smtp_server())))
        started.callback(lambda: sys.stdout.write(stack.logs()))  # pytest shows it where a test has failed
        yield stack


@pytest.fixture(scope="module", params=["nginx", "caddy", "haproxy"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    """An application behind a proxy that asks the service."""
    with guarding(request.param) as started:
        yield started


@pytest.fixture
def run() -> Iterator[Run]:
    """An installation of its own, not started yet."""
    folder = Path(tempfile.mkdtemp(prefix="authsvc-"))
    run = Run(folder)
    yield run
    sys.stdout.write(run.logs())  # pytest shows it where a test has failed
    run.end()
    shutil.rmtree(folder)
