"""What sockets and streams have in common: a bounded outbox, one writer at most, and an end that cannot be put off."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from authsvc.core.crypto import Token
from authsvc.core.errors import Unavailable
from bridge.protocol import Close, Event

OUTBOX = 256 * 1024  # characters that may wait for a client
SEND_DEADLINE = 10.0  # seconds for one frame to leave
GRACE = 1.0  # seconds after the end in which the client may close its side

Send = Callable[[dict[str, Any]], Awaitable[None]]  # ASGI's

log = logging.getLogger(__name__)


class Connection:
    """One socket or stream. What is delivered before `open` waits behind the greeting.

    Nothing that it does waits for its client: a writer exists only while there is something to write.
    """

    __slots__ = ("_abort", "_open", "_outbox", "_respond", "_waiting", "_writer", "ended", "token")
    token: Token  # of the session that it belongs to, if it does

    def __init__(self, scope: Any) -> None:
        """`scope` is the ASGI scope, in which server.py has left the means to cut the connection."""
        self.ended: Close | None = None
        self._abort: Callable[[], None] = scope["extensions"]["authsvc.abort"]
        self._open = False
        self._outbox: list[str] = []
        self._waiting = 0
        self._writer: asyncio.Task[None] | None = None

    # What a socket and a stream do each in their own way:

    def deliver(self, event: Event) -> None:
        raise NotImplementedError

    async def _send(self, text: str) -> None:
        raise NotImplementedError

    async def _send_end(self, why: Close) -> None:
        raise NotImplementedError

    def open(self, greeting: str, send: Send) -> None:
        """The client is let in; if the session has ended meanwhile, it is told so instead of being greeted."""
        self._respond = send
        self._open = True
        if self.ended is not None:
            self._close(self.ended)
            return
        self._outbox.insert(0, greeting)
        self._waiting += len(greeting)
        self._start()

    def put(self, text: str) -> None:
        """Send it after what waits already. A client that lets too much wait is closed."""
        if self.ended is not None:
            return
        if self._waiting + len(text) > OUTBOX:
            self.end(Close.TOO_FAST)
            return
        self._outbox.append(text)
        self._waiting += len(text)
        self._start()

    def end(self, why: Close) -> None:
        """Close. What waits is not sent any more; a client that is still there after GRACE seconds is cut off."""
        if self.ended is None:
            self.ended = why
            self._outbox.clear()
            if self._open:
                self._close(why)

    def _start(self) -> None:
        if self._open and self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            await self._work_off()
        except TimeoutError:
            self._fail(Close.TOO_FAST)
        except OSError:
            self.ended = self.ended or Close.TIMEOUT  # the client has gone
        except Unavailable:
            self._fail(Close.OVERLOADED)
        except Exception:
            log.exception("a connection failed")
            self._fail(Close.BUG)
        else:
            self._writer = None

    def _fail(self, why: Close) -> None:
        self._writer = None
        self.end(why)

    async def _work_off(self) -> None:
        """Write all that there is to write. Raises TimeoutError for a client that does not read."""
        while self._outbox:
            text = self._outbox.pop(0)
            await self._send_in_time(text)
            self._waiting -= len(text)

    async def _send_in_time(self, text: str) -> None:
        async with asyncio.timeout(SEND_DEADLINE):
            await self._send(text)

    def stop(self) -> None:
        """Write no more: the client has gone."""
        if self._writer:
            self._writer.cancel()

    def _close(self, why: Close) -> None:
        self.stop()
        asyncio.get_running_loop().call_later(GRACE, self._abort)
        self._writer = asyncio.create_task(self._take_leave(why))

    async def _take_leave(self, why: Close) -> None:
        try:
            await self._send_end(why)
        except OSError:
            log.debug("the client had gone before it was told: %s", why.reason)
