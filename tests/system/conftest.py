"""One stack of each kind for all tests that leave it standing; a fresh `authsvc run` for those that kill things."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Postgres, missing
from tests.smtp import smtp_server
from tests.system.parts import parts
from tests.system.stack import Run, Stack


@pytest.fixture(scope="session")
def _short_folder() -> Iterator[Path]:
    """A socket's path must be short, and those of pytest are long."""
    folder = Path(tempfile.mkdtemp(prefix="authsvc-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _run_stack(_short_folder: Path) -> Iterator[Stack]:
    folder = _short_folder / "run"
    folder.mkdir()
    run = Run(folder)
    try:
        yield run.start()
        assert "Traceback" not in run.logs()
    finally:
        run.end()


@pytest.fixture(scope="session")
def _parts_stack(_short_folder: Path, postgres: Postgres) -> Iterator[Stack]:
    folder = _short_folder / "parts"
    folder.mkdir()
    redis_server, nginx, _ = installed("redis-server"), installed("nginx"), installed("openssl")
    name = postgres.create()
    try:
        with smtp_server() as mails, parts(folder, postgres.url(name), redis_server, nginx, mails) as stack:
            yield stack
            assert "Traceback" not in stack.logs()
    finally:
        postgres.drop(name)


def installed(program: str) -> str:
    """Where a program is; Debian keeps servers where only root looks."""
    path = shutil.which(program, path=os.pathsep.join((os.environ["PATH"], "/usr/sbin")))
    if path is None:
        missing(program)
    return str(path)


@pytest.fixture(params=["run", "parts"])
def stack(request: pytest.FixtureRequest) -> Stack:
    """The service, once as `authsvc run` and once as its parts behind nginx."""
    started: Stack = request.getfixturevalue(f"_{request.param}_stack")
    return started


@pytest.fixture
def run() -> Iterator[Run]:
    """An installation of its own, not started yet."""
    folder = Path(tempfile.mkdtemp(prefix="authsvc-"))
    run = Run(folder)
    yield run
    sys.stdout.write(run.logs())  # pytest shows it where a test has failed
    run.end()
    shutil.rmtree(folder)
