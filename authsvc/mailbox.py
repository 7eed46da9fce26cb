"""The mail server of `authsvc run`: it sends nothing and keeps the last mails as files, so that whoever tries the
service can open the links. aiosmtpd is read when the first mail comes, for most runs never send one.
"""

import asyncio
import logging
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP

KEPT = 200
LARGEST = 1024 * 1024  # bytes
LINK = re.compile(r"https?://[^\s<>\"]+")


@dataclass(frozen=True, slots=True)
class Received:
    """A mail as its recipient reads it. `at` in unix seconds; `links` are those of the text."""

    id: str
    to: str
    subject: str
    at: int
    text: str
    html: str
    links: tuple[str, ...]


@contextmanager
def mailbox(folder: Path) -> Iterator[str]:
    """Take mails into a folder while the block runs. Yields the `smtp://` URL to send them to."""
    logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd would tell every line that it hears
    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop = asyncio.new_event_loop()
        stop: asyncio.Future[None] = loop.create_future()
        thread = threading.Thread(target=_run, args=(loop, listener, folder, stop), name="mailbox", daemon=True)
        thread.start()
        try:
            yield f"smtp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(stop.set_result, None)
            thread.join()


def read(folder: Path) -> list[Received]:
    """The mails of a mailbox, newest first."""
    mails = []
    for path in reversed(_files(folder)):
        with suppress(FileNotFoundError):  # a newer one has just taken its place
            mails.append(_received(path.stem, path.read_bytes()))
    return mails


def keep(folder: Path, content: bytes) -> None:
    """Write a mail; the oldest go where there are too many."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{time.time_ns():020}-{secrets.token_hex(4)}.eml"
    written = path.with_suffix(".part")
    written.write_bytes(content)
    written.replace(path)
    for old in _files(folder)[:-KEPT]:
        old.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.eml"))


def _received(mail_id: str, content: bytes) -> Received:
    message = message_from_bytes(content, policy=default)
    text, html = (_body(message, kind) for kind in ("plain", "html"))
    links = tuple(dict.fromkeys(LINK.findall(text)))
    at = int(mail_id.partition("-")[0]) // 10**9
    return Received(mail_id, str(message["To"] or ""), str(message["Subject"] or ""), at, text, html, links)


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    payload = part.get_payload(decode=True) if part else b""
    return payload.decode("utf-8", "replace").replace("\r\n", "\n") if isinstance(payload, bytes) else ""


def _run(loop: asyncio.AbstractEventLoop, listener: socket.socket, folder: Path, stop: asyncio.Future[None]) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:  # at its end it cancels what is still connected
        runner.run(_serve(listener, folder, stop))


async def _serve(listener: socket.socket, folder: Path, stop: asyncio.Future[None]) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _protocol(folder), sock=listener)
    await stop
    server.close()


def _protocol(folder: Path) -> "SMTP":
    from aiosmtpd.smtp import SMTP  # noqa: PLC0415 - see above

    loop = asyncio.get_running_loop()
    return SMTP(_Handler(folder), data_size_limit=LARGEST, enable_SMTPUTF8=True, hostname="localhost", loop=loop)


class _Handler:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        try:
            await asyncio.to_thread(keep, self._folder, envelope.content)
        except OSError as error:
            return f"452 4.3.1 The mailbox cannot be written: {error.strerror}"
        return "250 OK"
