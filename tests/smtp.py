"""A mail server that counts what it accepts, and can be as difficult as those outside: it refuses, stalls, hangs up and
greylists. What it does is a function of the step and the recipient; tests choose or write one."""

import asyncio
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, NamedTuple

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

EHLO, MAIL, RCPT, DATA = "EHLO", "MAIL", "RCPT", "DATA"  # steps; DATA is the answer after the whole message
STALL = "stall"  # no answer, and the connection stays open
CUT = "cut"  # no answer, and the connection is closed; at DATA the message was taken
Answer = Callable[[str, str], str | None]  # step and recipient ("" before RCPT) to a reply, STALL, CUT, or None: 250


class Accepted(NamedTuple):
    """A message that the server has taken upon itself."""

    id: str
    to: str
    content: bytes

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=default)


def friendly(_step: str, _to: str) -> None:
    """Everything is accepted."""


def answering(step: str, reply: str, *, times: int | None = None) -> Answer:
    """The same at a step each time, or so many times and then 250."""
    left = iter(range(times)) if times is not None else None
    return lambda at, _: reply if at == step and (left is None or next(left, None) is not None) else None


def greylisting() -> Answer:
    """The first try for each recipient is refused."""
    seen: set[str] = set()

    def answer(step: str, to: str) -> str | None:
        if step != RCPT or to in seen:
            return None
        seen.add(to)
        return "451 4.7.1 Greylisted, come back later"

    return answer


class SmtpServer:
    """Runs in a thread of its own from `start` to `stop`; the same port again after another `start`.

    `login` is a user and a password without which nothing is taken; `tls` is offered by STARTTLS, or with `smtps`
    spoken from the beginning."""

    def __init__(
        self, *, login: tuple[str, str] | None = None, tls: ssl.SSLContext | None = None, smtps: bool = False
    ) -> None:
        self.answer: Answer = friendly
        self.port = 0
        self.connections = 0
        self._login = login
        self._tls = tls
        self._smtps = smtps
        self._accepted: list[Accepted] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def accepted(self) -> list[Accepted]:
        with self._lock:
            return list(self._accepted)

    @property
    def counts(self) -> Counter[str]:
        """How often each Message-ID was accepted."""
        return Counter(mail.id for mail in self.accepted)

    def to(self, address: str) -> list[Accepted]:
        return [mail for mail in self.accepted if mail.to == address]

    def start(self) -> None:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self._loop, started), name="smtp", daemon=True)
        self._thread.start()
        assert started.wait(10)

    def stop(self) -> None:
        assert self._loop
        assert self._thread
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, loop: asyncio.AbstractEventLoop, started: threading.Event) -> None:
        asyncio.set_event_loop(loop)
        tls = self._tls if self._smtps else None
        server = loop.run_until_complete(loop.create_server(self._protocol, "127.0.0.1", self.port, ssl=tls))
        self.port = server.sockets[0].getsockname()[1]
        loop.call_soon(started.set)
        loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(asyncio.sleep(0))  # what was cancelled closes its connections
        loop.close()

    def _protocol(self) -> SMTP:
        self.connections += 1
        options: dict[str, Any] = {"enable_SMTPUTF8": True, "hostname": "mail.example.org"}
        if self._tls and not self._smtps:
            options |= {"tls_context": self._tls, "require_starttls": True}
        if self._login:
            options |= {"authenticator": self._authenticate, "auth_required": True}
        return SMTP(self, loop=asyncio.get_running_loop(), **options)

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: LoginPassword
    ) -> AuthResult:
        assert self._login
        user, password = self._login
        return AuthResult(success=data == LoginPassword(user.encode(), password.encode()), handled=False)

    # -- hooks of aiosmtpd -----------------------------------------------------------------------------------------

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        reply = await self._reply(server, EHLO, "")
        return [reply] if reply else responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if reply := await self._reply(server, MAIL, ""):
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if reply := await self._reply(server, RCPT, address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        to, content = envelope.rcpt_tos[0], bytes(envelope.content or b"")
        action = self.answer(DATA, to)
        if action in (None, CUT):
            with self._lock:
                self._accepted.append(Accepted(_message_id(content), to, content))
        return await self._act(server, action) or "250 OK"

    async def _reply(self, server: SMTP, step: str, to: str) -> str | None:
        return await self._act(server, self.answer(step, to))

    @staticmethod
    async def _act(server: SMTP, action: str | None) -> str | None:
        if action == CUT and server.transport:
            server.transport.abort()
        if action in (STALL, CUT):
            await asyncio.Event().wait()  # until the connection ends, or the server
        return action


def _message_id(content: bytes) -> str:
    return str(message_from_bytes(content, policy=default)["Message-ID"])


@contextmanager
def smtp_server(**options: Any) -> Iterator[SmtpServer]:
    server = SmtpServer(**options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Certificate(NamedTuple):
    """`server` is for the mail server, `file` for whoever is to trust it."""

    server: ssl.SSLContext
    file: Path


def certificate(folder: Path, host: str) -> Certificate:
    """A certificate for a host, signed by itself."""
    key, file = folder / f"{host}.key", folder / f"{host}.pem"
    subprocess.run(
        ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-keyout", str(key), "-out", str(file)),
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file, key)
    return Certificate(server, file)
