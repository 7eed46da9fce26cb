"""The backstop: every session that is connected here is loaded again, twice a minute and when it should run out.

Whatever message was lost, its end takes effect. If nobody can tell whether it lives, its connections are closed.
"""

import asyncio
import logging
import random

from authsvc.core.errors import Unavailable
from authsvc.core.store import Clock
from bridge.hub import NEVER, Check, Hub, Room
from bridge.protocol import Close

TICK = 1.0  # seconds
AT_ONCE = 16  # loads
AGAIN = 4.0  # seconds after a load that failed
BLIND = 40  # seconds from the time a session is due; with CHECK_EVERY as long as an end may take to be final

log = logging.getLogger(__name__)


class Sweep:
    def __init__(self, hub: Hub, check: Check, clock: Clock) -> None:
        self._hub = hub
        self._check = check
        self._clock = clock
        self._queue: asyncio.Queue[Room] = asyncio.Queue()

    async def watch(self) -> None:
        """Runs once, for ever."""
        while True:
            now = self._clock()
            for room in self._hub.rooms():
                self._watch(room, now)
            await asyncio.sleep(TICK)

    def _watch(self, room: Room, now: float) -> None:
        if now >= room.ends:
            room.end(Close.NO_SESSION)
        elif now >= room.deadline:
            room.end(Close.OVERLOADED)
        elif now >= room.due:
            self._ask(room, now)

    async def work(self) -> None:
        """Runs AT_ONCE times, for ever."""
        while True:
            room = await self._queue.get()
            room.queued = False  # from here on it may be asked for again
            room.due = NEVER
            try:
                await self._look(room)
            except Unavailable:
                self._try_again(room)
            except Exception:
                log.exception("a session could not be checked")
                self._try_again(room)

    def everything(self) -> None:
        """Load every session again, now: messages may have been missed."""
        now = self._clock()
        for room in self._hub.rooms():
            room.doubted = now
            self._ask(room, now)

    def _ask(self, room: Room, now: float) -> None:
        room.deadline = min(room.deadline, now + BLIND)
        if not room.queued:
            room.queued = True
            self._queue.put_nowait(room)

    async def _look(self, room: Room) -> None:
        for token in room.tokens():
            now = self._clock()
            session = await self._check(token)
            if session is None:
                room.end(Close.NO_SESSION, token)
            else:
                room.found(session, now)

    def _try_again(self, room: Room) -> None:
        room.due = self._clock() + AGAIN * random.uniform(0.5, 1)  # noqa: S311 - no secret
