"""`/ws`: a session's events as WebSocket frames (`authsvc.v1`)."""

import asyncio
import logging
from functools import partial
from typing import Any

from authsvc.core.errors import AuthsvcError, BadRequest
from authsvc.core.metrics import CONNECTIONS
from bridge import auth, protocol
from bridge.asgi import Handshake
from bridge.connection import Connection
from bridge.parts import Parts
from bridge.protocol import SUBPROTOCOL, Close, Event, Pace

log = logging.getLogger(__name__)


class Socket(Connection):
    __slots__ = ("_pace",)

    def __init__(self, handshake: Handshake, parts: Parts) -> None:
        """Raises CrossSite or Unauthenticated."""
        auth.check_socket_origin(handshake.headers, parts.settings.origins)
        token = auth.required_token(handshake.headers, parts.keyring, parts.settings.cookie_name)
        super().__init__(handshake.scope)
        self.token = token
        self._pace = Pace()

    def deliver(self, event: Event) -> None:
        self.put(event.frame)

    async def listen(self, receive: Any) -> None:
        """Answer the client's frames until it has gone or was closed."""
        clock = asyncio.get_running_loop().time
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["type"] != "websocket.receive":
                continue
            if self._pace.too_fast(clock()):
                self.end(Close.TOO_FAST)
            else:
                self._answer(message.get("text"))

    def _answer(self, text: str | None) -> None:
        try:
            self.put(protocol.answer(protocol.parse(text)))
        except BadRequest:
            self.end(Close.BAD_FRAME)

    async def _send(self, text: str) -> None:
        await self._respond({"type": "websocket.send", "text": text})

    async def _send_end(self, why: Close) -> None:
        await self._respond(_close(why))


def decide(handshake: Handshake, parts: Parts) -> None:
    """Say how a handshake goes on. Nothing has been looked up yet."""
    subprotocol = SUBPROTOCOL if SUBPROTOCOL in handshake.requested_subprotocols else None
    accept = {"type": "websocket.accept", "subprotocol": subprotocol}
    try:
        handshake.run = partial(_live, Socket(handshake, parts), parts, accept)
    except AuthsvcError as error:
        handshake.run = partial(_refuse, protocol.close_of(error), accept)


async def _live(socket: Socket, parts: Parts, accept: dict[str, Any], receive: Any, send: Any) -> None:
    """One socket to its end: registered, loaded, then accepted."""
    try:
        user = (await parts.hub.enter(socket)).user
    except Exception as error:
        if not isinstance(error, AuthsvcError):
            log.exception("a handshake failed")
        await _refuse(protocol.close_of(error), accept, receive, send)
        return
    try:
        greeting = protocol.hello(socket.token.sid, user, await parts.cursor(), parts.settings.heartbeat)
        await send(accept)
        socket.open(greeting, send)
        with CONNECTIONS.labels("socket").track_inprogress():
            await socket.listen(receive)
    except OSError:
        raise  # the client has gone, which the server takes calmly
    except Exception:
        log.exception("a socket failed")
        await send(_close(Close.BUG))
    finally:
        parts.hub.leave(socket)


async def _refuse(why: Close, accept: dict[str, Any], _receive: Any, send: Any) -> None:
    """Accepted first: only then does a browser tell its page the code."""
    await send(accept)
    await send(_close(why))


def _close(why: Close) -> dict[str, Any]:
    return {"type": "websocket.close", "code": why, "reason": why.reason}
