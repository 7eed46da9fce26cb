"""The whole service, started as its operators start it: `authsvc run`, or its parts behind nginx."""

import json
import os
import re
import secrets
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import redis

from tests.conftest import PASSWORD
from tests.servers import free_port, wait_for
from tests.smtp import SmtpServer

CLI = (sys.executable, "-m", "authsvc.cli")
# Root may write everywhere; without this capability it is bound by the modes of files like anybody.
AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override") if os.geteuid() == 0 else ()
AS_FROM_A_TERMINAL = ("env", "--default-signal=HUP,INT,TERM")  # whoever runs the tests may ignore them (nohup does)
CHEAP_HASHES = {"AUTHSVC_ARGON2_TIME_COST": "1", "AUTHSVC_ARGON2_MEMORY_KIB": "64"}


def environment(**settings: object) -> dict[str, str]:
    """That of this process, with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTHSVC_")}
    given = {f"AUTHSVC_{name.upper()}": str(value) for name, value in settings.items()}
    return {**kept, **CHEAP_HASHES, "PYTHONUNBUFFERED": "1", **given}


def _text(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body
    return str(body.get_content()).replace("\r\n", "\n")


class Server:
    """A process of ours, in a session of its own; what it writes goes to a log."""

    def __init__(self, command: tuple[str, ...], log: Path, env: dict[str, str] | None = None) -> None:
        self.log = log
        self._command = command
        self._env = env
        self.start()

    def start(self) -> None:
        """Again, where it has ended."""
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                (*AS_FROM_A_TERMINAL, *self._command),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=self._env,
                start_new_session=True,
            )

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code. The bound is that of the promise: everything stops within 5 s."""
        return self.process.wait(timeout=5)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """It and all that it has started."""
        for pid in list(_with_children(self.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from _with_children(int(child))


@dataclass
class Stack:
    """A running service, and the ways to it."""

    url: str
    folder: Path
    env: dict[str, str]
    database_url: str
    redis_options: dict[str, Any]
    ops_ports: dict[str, int]  # of each part
    tls: ssl.SSLContext | None = None
    servers: list[Server] = field(default_factory=list)
    mail_server: SmtpServer | None = None  # None: it keeps its mails itself

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws"

    @property
    def cookie_name(self) -> str:
        return "__Host-session" if self.tls else "session"

    def server_of(self, part: str) -> Server:
        """That of a part which was started by itself."""
        return next(server for server in self.servers if server.log.stem == part)

    def cli(self, *arguments: str, stdin: str = "", bound: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (*bound, *CLI, *arguments),
            input=stdin,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def told(self, *arguments: str, stdin: str = "") -> Any:
        """What a command answers as JSON; it must have been carried out."""
        done = self.cli(*arguments, "--json", stdin=stdin)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def new_user(self, *options: str, password: str = PASSWORD) -> str:
        """The email of a new account."""
        email = f"user-{secrets.token_hex(6)}@example.org"
        self.told("user", "create", email, "--password-stdin", *options, stdin=password)
        return email

    def mails_to(self, address: str) -> list[str]:
        """The texts of the mails that came for somebody, oldest first."""
        if self.mail_server:
            return [_text(mail.message) for mail in self.mail_server.to(address)]
        kept = self.operations("/dev/mailbox.json").json()
        return [mail["text"] for mail in reversed(kept) if mail["to"] == address]

    def operations(self, path: str, part: str = "web") -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.ops_ports[part]}{path}", trust_env=False, timeout=10)

    def figure(self, name: str, part: str = "web") -> float:
        """The value of a line of `/metrics`, by its name with labels; 0 if there is none yet."""
        lines = (line.rpartition(" ") for line in self.operations("/metrics", part).text.splitlines())
        return next((float(value) for line, _, value in lines if line == name), 0)

    def jobs(self, state: str) -> int:
        """How many mails are `open` or `dead`. Raises OSError while nobody answers."""
        try:
            text = self.operations("/metrics").text
        except httpx.TransportError as error:
            raise ConnectionError from error
        found = re.search(rf'^authsvc_jobs{{kind="mail",state="{state}"}} (\S+)$', text, re.MULTILINE)
        assert found
        return int(float(found[1]))

    @contextmanager
    def redis(self) -> Iterator[redis.Redis]:
        client = redis.Redis(**self.redis_options, socket_timeout=5)
        try:
            yield client
        finally:
            client.close()

    def ready(self) -> bool:
        return httpx.get(f"{self.url}/readyz", verify=self.tls or True, trust_env=False, timeout=5).status_code == 200

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            try:
                return self.ready()
            except httpx.HTTPError as error:
                raise ConnectionError(self.logs()) from error

        wait_for(ready, seconds=20)

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.rglob("*.log")))


def processes_of(instance: Path) -> dict[int, str]:
    """Every process that was started for this instance folder, or works in it: pid and command."""
    return {
        int(entry.name): command
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (command := _command_if_of(instance, entry))
    }


def _command_if_of(instance: Path, process: Path) -> str:
    try:
        started_for = f"AUTHSVC_INSTANCE={instance}\0".encode() in (process / "environ").read_bytes()
        works_in = (process / "cwd").readlink().is_relative_to(instance)  # Valkey writes over its environment
        command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""  # it has ended meanwhile
    return command if started_for or works_in else ""


def parts_of(instance: Path) -> dict[int, str]:
    """Those of them that lead a session of their own: not the processes in which a worker does its jobs."""
    found = processes_of(instance)
    return {pid: command for pid, command in found.items() if _leads_a_session(pid)}


def _leads_a_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False  # it has ended meanwhile


def only(kind: str, instance: Path) -> int:
    """The pid of the one part of an installation whose command contains `kind`."""
    pids = [pid for pid, command in parts_of(instance).items() if kind in command]
    assert len(pids) == 1, f"{kind}: {pids}"
    return pids[0]


PARTS = ("authsvc.cli run", "authsvc.cli worker", "valkey-server")  # what `authsvc run` consists of


class Run(Stack):
    """`authsvc run` in a folder of its own, with everything embedded; mails too, unless there is a server for them."""

    def __init__(self, folder: Path, *, mail_server: SmtpServer | None = None, **settings: object) -> None:
        self.instance = folder / "i"
        settings |= {"smtp_url": mail_server.url} if mail_server else {}
        self.port, ops_port = free_port(), free_port()
        super().__init__(
            url=f"http://127.0.0.1:{self.port}",
            folder=folder,
            env=environment(**{"instance": self.instance, "port": self.port, "ops_port": ops_port, **settings}),
            database_url=f"sqlite:///{self.instance}/authsvc.sqlite3",
            redis_options={"unix_socket_path": str(self.instance / "valkey.sock")},
            ops_ports=dict.fromkeys(("web", "bridge", "worker"), ops_port),
            mail_server=mail_server,
        )

    def start(self) -> "Run":
        self.launch()
        self.wait_until_ready()
        return self

    def launch(self, *options: str) -> Server:
        """Start, and do not wait until it answers."""
        self.servers.append(Server((*CLI, "run", *options), self.folder / "run.log", self.env))
        return self.server

    @property
    def server(self) -> Server:
        return self.servers[-1]

    def refused(self) -> str:
        """What a start says that must be refused, and nothing started by it."""
        before = parts_of(self.instance)
        done = self.cli("run", bound=AS_ANYBODY)
        assert done.returncode == 1, done
        assert done.stdout == ""
        assert parts_of(self.instance) == before
        return done.stderr

    def end(self) -> None:
        """Leave nothing, whatever a test has done."""
        for pid in processes_of(self.instance):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for server in self.servers:
            server.process.wait()
