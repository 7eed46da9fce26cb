"""Who is connected here: the connections of each session, and the sessions of each user. Knows no network."""

import random
from collections.abc import Awaitable, Callable, Iterator

from authsvc.core.crypto import Token
from authsvc.core.errors import RateLimited, Unauthenticated
from authsvc.core.events import Fact
from authsvc.core.session import Session, expires, idle_expires
from authsvc.core.store import Clock
from bridge.connection import Connection
from bridge.protocol import Close, event

CHECK_EVERY = 30  # seconds
NEVER = float("inf")

Check = Callable[[Token], Awaitable[Session | None]]  # raises Unavailable when nobody can tell


class Room:
    """The connections of one session; its user and end as last loaded, when it is due to be loaded again, and by when
    that must have worked."""

    __slots__ = ("connections", "deadline", "due", "ends", "queued", "sid", "user")

    def __init__(self, sid: str) -> None:
        self.sid = sid
        self.connections: set[Connection] = set()
        self.user: str | None = None
        self.ends: float = NEVER
        self.due = self.deadline = NEVER
        self.queued = False

    def tokens(self) -> set[Token]:
        """One, unless the session's token was changed while connections were open."""
        return {connection.token for connection in self.connections}

    def end(self, why: Close, token: Token | None = None) -> None:
        """Close its connections, or those that came with a certain token."""
        for connection in self.connections:
            if token is None or connection.token == token:
                connection.end(why)

    def found(self, session: Session, now: float) -> None:
        """It was alive at `now`. The next check comes a little earlier for some than for others."""
        self.user, self.ends, self.deadline = session.user, expires(session), NEVER
        soon = now + CHECK_EVERY * random.uniform(0.8, 1)  # noqa: S311 - no secret
        self.due = min(soon, idle_expires(session))


class Hub:
    def __init__(self, check: Check, limit: int, clock: Clock) -> None:
        self._check = check
        self._limit = limit
        self._clock = clock
        self._rooms: dict[str, Room] = {}
        self._users: dict[str, set[Room]] = {}

    async def enter(self, connection: Connection) -> Session:
        """Register, and only then load: an end that comes in between finds the connection and closes it.

        Raises Unauthenticated, RateLimited or Unavailable, and then it is not registered any more.
        """
        room = self._register(connection)
        try:
            now = self._clock()
            session = _required(await self._check(connection.token))
        except BaseException:
            self.leave(connection)
            raise
        room.found(session, now)
        self._users.setdefault(session.user, set()).add(room)
        return session

    def leave(self, connection: Connection) -> None:
        room = self._rooms[connection.token.sid]
        room.connections.remove(connection)
        if room.connections:
            return
        del self._rooms[room.sid]
        if room.user and (rooms := self._users.get(room.user)):
            rooms.discard(room)
            if not rooms:
                del self._users[room.user]

    def tell(self, fact: Fact) -> None:
        """Give a fact to every connection of the user whom it is about."""
        told = event(fact)
        for room in self._users.get(fact.user or "", ()):
            for connection in room.connections:
                connection.deliver(told)

    def end(self, sid: str) -> int:
        """The session has ended: close its connections. Returns how many that were."""
        room = self._rooms.get(sid)
        if room is None:
            return 0
        room.end(Close.NO_SESSION)
        return len(room.connections)

    def rooms(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def _register(self, connection: Connection) -> Room:
        sid = connection.token.sid
        room = self._rooms.get(sid) or Room(sid)
        if len(room.connections) >= self._limit:
            raise RateLimited("This session holds as many sockets and streams open as it may.", retry_after=30)
        self._rooms[sid] = room
        room.connections.add(connection)
        return room


def _required(session: Session | None) -> Session:
    if session is None:
        raise Unauthenticated
    return session
