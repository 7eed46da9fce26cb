"""The backstop: every session that is connected here is loaded again, twice a minute and when it should run out.

Whatever message was lost, its end takes effect. If nobody can tell for BLIND seconds, its connections are closed.
"""

import asyncio
import logging
import random
from collections.abc import Iterable

from authsvc.core.errors import Unavailable
from authsvc.core.store import Clock
from bridge.hub import NEVER, Check, Hub, Room
from bridge.protocol import Close

TICK = 1.0  # seconds
AT_ONCE = 16  # loads
AGAIN = 4.0  # seconds after a load that failed
BLIND = 70  # seconds; as long as an end may take to be final without Redis

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
            self._look_at(room for room in self._hub.rooms() if room.due <= now)
            await asyncio.sleep(TICK)

    async def work(self) -> None:
        """Runs AT_ONCE times, for ever."""
        while True:
            room = await self._queue.get()
            room.queued = False  # from here on it may be asked for again
            room.due = NEVER
            try:
                await self._look(room)
            except Exception:
                log.exception("a session could not be checked")
                self._nobody_can_tell(room)

    def everything(self) -> None:
        """Load every session again, now: messages may have been missed."""
        self._look_at(self._hub.rooms())

    def _look_at(self, rooms: Iterable[Room]) -> None:
        for room in rooms:
            if not room.queued:
                room.queued = True
                self._queue.put_nowait(room)

    async def _look(self, room: Room) -> None:
        for token in room.tokens():
            now = self._clock()
            try:
                session = await self._check(token)
            except Unavailable:
                self._nobody_can_tell(room)
                return
            if session is None:
                room.end(Close.NO_SESSION, token)
            else:
                room.found(session, now)

    def _nobody_can_tell(self, room: Room) -> None:
        now = self._clock()
        room.due = now + AGAIN * random.uniform(0.5, 1)  # noqa: S311 - no secret
        if now >= room.ends:
            room.end(Close.NO_SESSION)
        elif now - room.checked >= BLIND:
            room.end(Close.OVERLOADED)
