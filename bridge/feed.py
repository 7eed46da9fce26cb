"""The stream of facts as verifiers follow it: the tokens in it, in the order in which Redis got them.

A place in it is the id of an entry. A cursor is a place and the run of the server that has given it: another server, or
the same after a restart, may have lost entries without a trace. A place is good as long as its entry is there: then
nothing after it can be missing. Whoever comes with no good cursor is told first what SQL knows.
"""

import asyncio
import logging
import random
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from redis import RedisError

from authsvc.core import events
from authsvc.core.cluster import AsyncDoor
from authsvc.core.errors import RedisDown
from authsvc.core.redis import UNKNOWN_RUN
from authsvc.core.store import L
from bridge import protocol
from bridge.connection import Connection
from bridge.protocol import Close

TIMEOUT = 5.0  # seconds for an answer, a wait included: whoever is silent for longer is not there
WAIT = 1000  # ms that the server holds a question back while nothing happens
FRESH = 2.0  # seconds since its last answer for which we say that nothing is missing
BELIEVED = L / 1000  # seconds, as long as a copy: then a new connection shows which server is the master by now
AT_ONCE = 500  # entries read at once
KEPT = 1000  # messages kept for those who follow; who is further behind asks Redis
PAUSE = 0.5  # seconds, at most, before the next try

Place = tuple[int, int]
START: Place = (0, 0)  # of a stream with nothing in it
CURSOR = re.compile(r"([0-9a-f]{16})-([0-9]{1,13})-([0-9]{1,10})")
TOKEN = re.compile(rb"[\w.-]+")  # a JWS in compact form; anything else could write lines of its own

log = logging.getLogger(__name__)


class Message(NamedTuple):
    place: Place
    text: str  # a Server-Sent Event


class Snapshot(NamedTuple):
    """What SQL knows, and a place that is no later than that."""

    place: Place
    tokens: list[str]


class Feed:
    """Follows the stream for all who are connected here, on one connection. When that is lost, or comes to another
    server, they are all sent away: what they have missed, they learn when they come back."""

    def __init__(self, redis: AsyncDoor, recent: Callable[[], Awaitable[list[str]]]) -> None:
        self._redis = redis
        self._recent = recent
        self._run: bytes | None = None  # None: nobody knows what happens
        self._place = self._kept_from = START
        self._answered = 0.0
        self._kept: deque[Message] = deque()
        self._news = asyncio.Event()
        self._following: set[Connection] = set()
        self._making: asyncio.Task[Snapshot] | None = None

    # -- reading ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            try:
                async with await self._redis.client(events.STREAM, TIMEOUT) as client:
                    await self._follow(await client.connection_pool.get_connection())
            except (RedisDown, RedisError, OSError) as error:
                if self._run is not None:  # once for each outage
                    log.warning("the stream of facts was lost: %s", type(error).__name__)
                self._lose()
                await asyncio.sleep(PAUSE * random.uniform(0.1, 1))  # noqa: S311 - no secret

    async def _follow(self, connection: Any) -> None:
        """Until the connection has been believed for long enough."""
        run = connection.authsvc_run
        if run != self._run:
            self._lose()
            newest = await _ask(connection, "XREVRANGE", events.STREAM, "+", "-", "COUNT", 1)
            self._place = self._kept_from = _place(newest[0][0]) if newest else START
            self._run = run
        until = time.monotonic() + BELIEVED
        while time.monotonic() < until or run == UNKNOWN_RUN:
            await _ask(connection, "XREAD", "COUNT", 1, "BLOCK", WAIT, "STREAMS", events.STREAM, _id(self._place))
            for entry in _after(self._place, await _ask(connection, *_range(self._place))):
                self._take(entry)
            self._answered = time.monotonic()

    def _take(self, entry: Any) -> None:
        self._place = _place(entry[0])
        self._kept.append(self._message(entry))
        if len(self._kept) > KEPT:
            self._kept_from = self._kept.popleft().place
        self._news.set()
        self._news = asyncio.Event()

    def _lose(self) -> None:
        self._run = self._making = None
        self._kept.clear()
        for connection in self._following:
            connection.end(Close.RESTARTING)

    def _message(self, entry: Any) -> Message:
        """What an entry says to a verifier, in most cases nothing."""
        place, fields = _place(entry[0]), dict(zip(entry[1][::2], entry[1][1::2], strict=True))
        token = fields.get(b"set", b"")
        if TOKEN.fullmatch(token):
            return Message(place, protocol.message("set", token.decode(), self.cursor(place)))
        fact = events.parse(fields.get(b"fact", b""))
        if fact and fact.name == events.KEY_REVOKED:
            return Message(place, protocol.message("keys", "{}", self.cursor(place)))
        return Message(place, "")

    # -- following -------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises RedisDown while nobody knows what happens."""
        if self._run is None:
            raise RedisDown

    def enter(self, connection: Connection) -> None:
        self._following.add(connection)
        if self._run is None:
            connection.end(Close.RESTARTING)

    def leave(self, connection: Connection) -> None:
        self._following.discard(connection)

    def cursor(self, place: Place) -> str:
        return f"{(self._run or UNKNOWN_RUN).hex()}-{place[0]}-{place[1]}"

    async def place_of(self, cursor: str) -> Place | None:
        """Where a cursor stands, None if anything may be missing after it."""
        match, run = CURSOR.fullmatch(cursor), self._run or UNKNOWN_RUN
        if match is None or run == UNKNOWN_RUN or match[1] != run.hex():
            return None
        place = int(match[2]), int(match[3])
        try:
            await self._read(place)
        except RedisDown:
            return None
        return None if place == START else place

    async def snapshot(self) -> Snapshot:
        """Who comes while one is being made gets the same, for all come at once when Redis was away; but not if it was
        lost meanwhile, with all that came after the place. Raises Unavailable."""
        if self._making is None:
            self._making = asyncio.create_task(self._make())
        return await asyncio.shield(self._making)

    async def _make(self) -> Snapshot:
        try:
            place = self._place  # what stands before it was committed before it
            return Snapshot(place, await self._recent())
        finally:
            if self._making is asyncio.current_task():
                self._making = None

    async def after(self, place: Place) -> tuple[str, Place]:
        """The next messages after a place, and the place behind them. Raises RedisDown if some may be missing."""
        if place >= self._kept_from:
            newer = []
            for message in reversed(self._kept):
                if message.place <= place:
                    break
                newer.append(message.text)
            return "".join(reversed(newer)), max(place, self._place)
        messages = [self._message(entry) for entry in await self._read(place)]
        return "".join(message.text for message in messages), messages[-1].place

    async def _read(self, place: Place) -> list[Any]:
        reply = await self._redis.execute(_range(place))
        if reply.run != self._run:
            raise RedisDown
        return _after(place, reply.values[0])

    async def news(self, place: Place, seconds: float) -> bool:
        """Wait until something comes after a place; False if nothing does for so long."""
        try:
            async with asyncio.timeout(seconds):
                while self._place <= place:
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    def hears(self) -> bool:
        """Whether it would know by now what had happened a moment ago."""
        return time.monotonic() - self._answered < FRESH

    @property
    def place(self) -> Place:
        return self._place


def _range(place: Place) -> tuple[Any, ...]:
    return "XRANGE", events.STREAM, _id(place), "+", "COUNT", AT_ONCE


def _after(place: Place, entries: list[Any]) -> list[Any]:
    """The entries after the first one, which is the place itself. It is not there when the stream was cut there, or
    wiped: then others may be missing too. Raises RedisDown."""
    if place == START:
        return entries
    if not entries or _place(entries[0][0]) != place:
        raise RedisDown
    return entries[1:]


def _place(entry_id: bytes) -> Place:
    ms, number = entry_id.split(b"-")
    return int(ms), int(number)


def _id(place: Place) -> str:
    return f"{place[0]}-{place[1]}"


async def _ask(connection: Any, *command: Any) -> Any:
    await connection.send_command(*command)
    return await connection.read_response()
