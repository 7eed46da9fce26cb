"""`/revocations`: what verifiers of access tokens must know, as Server-Sent Events (docs/revocations.md)."""

import asyncio
from functools import partial
from typing import Any

from quart import Request, Response
from werkzeug.exceptions import MethodNotAllowed

from authsvc.core.errors import AuthsvcError, RedisDown
from authsvc.core.metrics import CONNECTIONS
from bridge import protocol
from bridge.asgi import TakenOver
from bridge.errors import answer
from bridge.feed import Feed, Place
from bridge.parts import Parts
from bridge.protocol import Close
from bridge.sse import HEADERS, Stream

SCOPE = "revocations"
LEEWAY = 5  # seconds after its time that a token is still believed, and its stream goes on
AT_ONCE = 100  # tokens of a snapshot in one write


class Revocations(Stream):
    """One verifier's stream. It asks for what comes next when the last is sent: who reads slowly gets all of it later,
    and who does not read at all is cut off."""

    __slots__ = ("_cursor", "_feed", "_heartbeat")

    def __init__(self, request: Request, feed: Feed, heartbeat: float) -> None:
        super().__init__(request.scope)
        self._feed = feed
        self._cursor = request.headers.get("Last-Event-ID", "")
        self._heartbeat = heartbeat

    async def _work_off(self) -> None:
        await super()._work_off()
        place = await self._feed.place_of(self._cursor)
        if place is None:
            place = await self._catch_up_from_sql()
        place = await self._catch_up(place)
        await self._send_in_time(protocol.message("ready", "{}", self._feed.cursor(place)))
        while True:
            if await self._feed.news(place, self._heartbeat):
                place = await self._catch_up(place)
            elif self._feed.hears():
                await self._send_in_time(protocol.STREAM_BEATS)

    async def _catch_up_from_sql(self) -> Place:
        """Without cursors: who does not get all of it must begin again. Keys may have been revoked, too."""
        making = asyncio.ensure_future(self._feed.snapshot())
        while not (await asyncio.wait([making], timeout=self._heartbeat))[0]:
            await self._send_in_time(protocol.STREAM_BEATS)
        place, tokens = making.result()
        await self._send_in_time(protocol.message("keys", "{}"))
        for start in range(0, len(tokens), AT_ONCE):
            some = tokens[start : start + AT_ONCE]
            await self._send_in_time("".join(protocol.message("set", token) for token in some))
        return place

    async def _catch_up(self, place: Place) -> Place:
        until = self._feed.place
        while place < until:
            text, further = await self._feed.after(place)
            if further == place:
                raise RedisDown
            if text:
                await self._send_in_time(text)
            place = further
        return place


async def serve(request: Request, parts: Parts) -> Response:
    if request.method != "GET":  # Quart adds HEAD, which would wait for ever
        raise MethodNotAllowed(["GET"])
    try:
        claims = await parts.bearers.claims(request.headers, SCOPE)
        parts.feed.check()
    except AuthsvcError as error:
        return answer(error)
    stream = Revocations(request, parts.feed, parts.settings.heartbeat)
    seconds = claims["exp"] + LEEWAY - parts.clock()
    return TakenOver(partial(_live, stream, parts.feed, seconds), HEADERS)


async def _live(stream: Revocations, feed: Feed, seconds: float, receive: Any, send: Any) -> None:
    """Until the token with which it came has expired."""
    over = asyncio.get_running_loop().call_later(seconds, stream.end, Close.TIMEOUT)
    try:
        feed.enter(stream)
        stream.open(protocol.STREAM_BEGINS, send)
        with CONNECTIONS.labels("feed").track_inprogress():
            await stream.listen(receive)
    finally:
        over.cancel()
        feed.leave(stream)
        stream.stop()
