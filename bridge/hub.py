"""Who is connected here: the connections of each session, and the sessions of each user. Knows no network."""

import random
from collections.abc import Awaitable, Callable, Iterator

from authsvc.core.crypto import Token
from authsvc.core.errors import RateLimited, Unauthenticated
from authsvc.core.events import SESSION_EXPIRING, Fact
from authsvc.core.session import Session, expires, idle_expires
from authsvc.core.store import Clock
from authsvc.core.times import rfc3339
from bridge.connection import Connection
from bridge.protocol import Close, Event, event

CHECK_EVERY = 30  # seconds
WARNING = 60  # seconds before a session runs out, in which its connections are told
NEVER = float("inf")

Check = Callable[[Token], Awaitable[Session | None]]  # raises Unavailable when nobody can tell


class Room:
    """The connections of one session; its user and end as last loaded, when it is due to be loaded again, and by when
    that must have worked; what its connections were told of its running out; and since when its end may have been
    missed, and what waits until it is known whether it was."""

    __slots__ = (
        "connections", "deadline", "doubted", "due", "ends", "held", "queued", "sid", "user", "warned", "warning",
    )  # fmt: skip

    def __init__(self, sid: str) -> None:
        self.sid = sid
        self.connections: set[Connection] = set()
        self.user: str | None = None
        self.ends: float = NEVER
        self.due = self.deadline = self.doubted = NEVER
        self.held: tuple[Event, ...] = ()
        self.queued = False
        self.warned = 0
        self.warning: Event | None = None

    def tokens(self) -> set[Token]:
        """One, unless the session's token was changed while connections were open."""
        return {connection.token for connection in self.connections}

    def end(self, why: Close, token: Token | None = None) -> None:
        """Close its connections, or those that came with a certain token."""
        for connection in self.connections:
            if token is None or connection.token == token:
                connection.end(why)

    def tell(self, event: Event) -> None:
        """Nothing reaches a session that has ended: if that may have been missed, it waits for the next look."""
        if self.doubted < NEVER:
            self.held += (event,)
            return
        for connection in self.connections:
            connection.deliver(event)

    def found(self, session: Session, now: float) -> None:
        """It was alive at `now`. The next check comes a little earlier for some than for others."""
        self.user, self.ends, self.deadline = session.user, expires(session), NEVER
        if now >= self.doubted:
            self.doubted, held, self.held = NEVER, self.held, ()
            for event in held:
                self.tell(event)
        soon = now + CHECK_EVERY * random.uniform(0.8, 1)  # noqa: S311 - no secret
        runs_out = min(self.ends, idle_expires(session))
        warn_at = runs_out - WARNING
        self.due = min(soon, runs_out if now >= warn_at else warn_at)
        if now < warn_at:
            self.warning = None
        elif self.warned != runs_out:
            self._warn(session, runs_out, now)

    def _warn(self, session: Session, runs_out: int, now: float) -> None:
        """Once for each time at which it would run out: use puts off an idle one, and nothing the other."""
        self.warned = runs_out
        why = {"expires": rfc3339(runs_out), "reason": "absolute" if runs_out == self.ends else "idle"}
        self.warning = event(Fact(SESSION_EXPIRING, session.user, int(now), session.sid, why))
        for connection in self.connections:
            connection.deliver(self.warning)


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
        told = room.warning
        room.found(session, now)
        if told and room.warning is told:  # the others heard of it before this one came
            connection.deliver(told)
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
            room.tell(told)

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
