"""`/events`: a session's events as Server-Sent Events (HTML standard, 9.2)."""

import asyncio
from functools import partial
from typing import Any

from quart import Request, Response
from werkzeug.exceptions import MethodNotAllowed

from authsvc.core.errors import AuthsvcError, Unauthenticated
from authsvc.core.metrics import CONNECTIONS
from bridge import auth, protocol
from bridge.asgi import TakenOver
from bridge.connection import Connection
from bridge.errors import answer
from bridge.parts import Parts
from bridge.protocol import Close, Event

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Connection": "close",  # the end of the stream is the end of the connection
    "X-Accel-Buffering": "no",  # for nginx
}


class Stream(Connection):
    __slots__ = ()

    def __init__(self, scope: Any) -> None:
        super().__init__(scope)
        scope["extensions"]["authsvc.shutdown"] = partial(self.end, Close.RESTARTING)

    async def listen(self, receive: Any) -> None:
        """Until the client has gone or was told the end."""
        while (await receive())["type"] != "http.disconnect":
            pass  # a body that nobody asked for

    async def _send(self, text: str) -> None:
        await self._respond({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def _send_end(self, why: Close) -> None:
        text = protocol.STREAM_ENDED if why is Close.NO_SESSION else ""
        await self._respond({"type": "http.response.body", "body": text.encode(), "more_body": False})


class SessionStream(Stream):
    """The events of a session."""

    __slots__ = ("_heartbeat", "_timer")

    def __init__(self, request: Request, parts: Parts) -> None:
        """Raises CrossSite or Unauthenticated."""
        auth.check_stream_origin(request.headers, parts.settings.origins)
        token = auth.required_token(request.headers, parts.keyring, parts.settings.cookie_name)
        super().__init__(request.scope)
        self.token = token
        self._heartbeat = parts.settings.heartbeat

    def deliver(self, event: Event) -> None:
        self.put(event.chunk)

    async def listen(self, receive: Any) -> None:
        self._timer = self._next_beat()
        try:
            await super().listen(receive)
        finally:
            self._timer.cancel()

    def _next_beat(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._heartbeat, self._beat)

    def _beat(self) -> None:
        self.put(protocol.STREAM_BEATS)
        self._timer = self._next_beat()


async def serve(request: Request, parts: Parts) -> Response:
    """A stream; 204 where no session lives, for that alone stops an EventSource."""
    if request.method != "GET":  # Quart adds HEAD, which would wait for ever
        raise MethodNotAllowed(["GET"])
    try:
        stream = SessionStream(request, parts)
        await parts.hub.enter(stream)
    except Unauthenticated:
        return Response(status=204)
    except AuthsvcError as error:
        return answer(error)
    return TakenOver(partial(_live, stream, parts), HEADERS)


async def _live(stream: SessionStream, parts: Parts, receive: Any, send: Any) -> None:
    try:
        stream.open(protocol.STREAM_BEGINS, send)
        with CONNECTIONS.labels("stream").track_inprogress():
            await stream.listen(receive)
    finally:
        parts.hub.leave(stream)
