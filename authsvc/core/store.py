"""The session protocol: how a session gets from SQL into Redis, is believed there, and is ended for good.

SQL decides; Redis holds copies. An operation is a generator that asks for one piece of I/O at a time, `Ask` for Redis
or `Statement` for SQL, and is told the answer, so the same operation runs through the sync door (`Store`), the async
door (`AsyncStore`), and step by step in a test. docs/sessions.md says what each element rules out.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from authsvc.core import events
from authsvc.core.cluster import AsyncDoor, SyncDoor
from authsvc.core.crypto import Token, equal
from authsvc.core.errors import RedisDown, StorageDown, Unavailable
from authsvc.core.redis import Command, Reply
from authsvc.core.session import Copy, Session, alive, decode, encode

L = 10_000  # ms for which a copy is believed
G = 60_000  # ms for which a copy is believed while SQL is down; also the life of a copy
AHEAD = 2_000  # ms that another process's clock may be ahead of ours
MARK_LIFE = 5_000  # ms
ENDED_LIFE = 60_000  # ms
FINAL = 70  # seconds after which an end is final without Redis: G, 2 s for clocks, 5 s for the transaction, rounded up
SKEW = 1.0  # seconds by which SQL's clock and ours may differ; every bound here counts on it
TOUCH_EVERY = 60  # seconds between two writes of `seen`
TRIES = 100  # of a save against others that change the same session; each failure is the success of another
REFILLS = 3
ANNOUNCED_AT_ONCE = 100

ENDED = b"ended"
FILLING = b"filling:"

CAS = (
    "if redis.call('GET',KEYS[1]) == ARGV[1] then redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) return 1 end return 0"
)

T = TypeVar("T")
Clock = Callable[[], float]  # unix seconds
Sign = Callable[[Sequence[events.Fact]], Sequence[str | None]]  # a token for verifiers, if one is due; or Unavailable


class Ask(NamedTuple):
    """Redis commands, each on one key. The answer is a Reply, or RedisDown is thrown in."""

    commands: tuple[Command, ...]


class Found(NamedTuple):
    """What a statement left in SQL: the session, None if it has ended or never was; and whether its write applied."""

    session: Session | None
    applied: bool = True


class Statement(NamedTuple):
    """One SQL transaction, a call without arguments. The answer is its result, or StorageDown is thrown in."""

    run: Callable[[], Any]


Operation = Generator[Ask | Statement, Any, T]


def key_of(sid: str) -> str:
    return f"authsvc:session:{sid}"


def ask(*commands: Command) -> Ask:
    return Ask(commands)


class Seen(NamedTuple):
    """What lies under a key, and the stamp to be: taken before the statement whose result it will mark."""

    value: bytes | None
    run: bytes
    checked: int


def _look(sid: str, clock: Clock) -> Operation[Seen]:
    reply: Reply = yield ask(("GET", key_of(sid)))
    value = reply.values[0]
    if value is not None and not isinstance(value, bytes):  # not an answer to GET
        raise RedisDown
    return Seen(value, reply.run, int(clock() * 1000))


def _believed(copy: Copy, run: bytes, now: float, age: int) -> bool:
    return copy.run == run and -AHEAD < int(now * 1000) - copy.checked < age


def load(
    token: Token,
    select: Callable[[], Any],
    clock: Clock,
    touch: Callable[[], Any] | None = None,
) -> Operation[Session | None]:
    """The live session of this token, or None. `touch`, where given, writes `seen` once a minute.

    Raises StorageDown if neither SQL nor a copy can tell.
    """
    session, sql_answers = yield from _find(token.sid, token.hash, select, clock)
    if session is None or touch is None or not sql_answers or clock() - session.seen < TOUCH_EVERY:
        return session
    try:
        touched, _ = yield from sync(token.sid, touch, clock)
    except StorageDown:
        return session
    return _answer(touched.session, token.hash, clock())


def load_by_sid(sid: str, select: Callable[[], Any], clock: Clock) -> Operation[Session | None]:
    """The live session of this id, or None: for who proves by something else than its cookie that they may ask, such as
    an access token with the id inside our signature. It is no use of the session, which keeps its time-outs.

    Raises StorageDown if neither SQL nor a copy can tell.
    """
    session, _ = yield from _find(sid, None, select, clock)
    return session


def _answer(session: Session | None, wanted: bytes | None, now: float) -> Session | None:
    """The session if it is alive, and its hash is the wanted one (None: whatever it is)."""
    if session is None or not (wanted is None or equal(session.hash, wanted)):
        return None
    return session if alive(session, now) else None


def _find(
    sid: str, wanted: bytes | None, select: Callable[[], Any], clock: Clock
) -> Operation[tuple[Session | None, bool]]:
    """The live session from a copy that is believed, else from SQL; and False if SQL was asked and did not answer."""
    try:
        seen = yield from _look(sid, clock)
    except RedisDown:
        return (yield from _only_sql(wanted, select, clock)), True
    if seen.value == ENDED:
        return None, True
    copy = decode(seen.value) if seen.value else None
    if copy and copy.session.sid != sid:  # another caller's reply: not a word of it is believed
        return (yield from _only_sql(wanted, select, clock)), True
    now = clock()
    known = _answer(copy.session, wanted, now) if copy else None
    if copy and known and _believed(copy, seen.run, now, L):
        return known, True
    try:
        found, _ = yield from sync(sid, select, clock, seen)
    except StorageDown:  # the time is that of now: SQL may have taken a while to fail
        if copy and known and _believed(copy, seen.run, clock(), G):
            return known, False
        raise
    return _answer(found.session, wanted, clock()), True


def _only_sql(wanted: bytes | None, select: Callable[[], Any], clock: Clock) -> Operation[Session | None]:
    found: Found = yield Statement(select)
    return _answer(found.session, wanted, clock())


def sync(
    sid: str, statement: Callable[[], Any], clock: Clock, seen: Seen | None = None
) -> Operation[tuple[Found, bool]]:
    """Run a statement and bring its result into Redis. Returns the result, and False if another got there first, or is
    about to: what that one fills in may be older than this statement."""
    expected: bytes | None = None
    try:
        seen = seen or (yield from _look(sid, clock))
        expected = seen.value
        if expected is None:
            mark = FILLING + secrets.token_bytes(16)
            reply: Reply = yield ask(("SET", key_of(sid), mark, "NX", "PX", MARK_LIFE))
            expected = mark if reply.values[0] else None
    except RedisDown:
        seen = None
    found: Found = yield Statement(statement)
    if seen is None or expected is None:
        return found, seen is None
    value, life = (encode(Copy(found.session, seen.run, seen.checked)), G) if found.session else (ENDED, ENDED_LIFE)
    try:
        reply = yield ask(("EVAL", CAS, 1, key_of(sid), expected, value, life))
    except RedisDown:
        return found, True
    return found, bool(reply.values[0])


def write(sid: str, statement: Callable[[], Any], select: Callable[[], Any], clock: Clock) -> Operation[Found]:
    """A statement whose result must get into Redis. After its commit nothing of this can fail."""
    found, filled = yield from sync(sid, statement, clock)
    for _ in range(REFILLS):
        if filled or not found.applied:
            break
        try:
            _, filled = yield from sync(sid, select, clock)
        except StorageDown:
            break
    return found


def change(
    session: Session,
    update: Callable[[Session], Callable[[], Any]],
    select: Callable[[], Any],
    clock: Clock,
) -> Operation[Session | None]:
    """Write a change of a session. `update(base)` makes the statement that applies it to the version of `base`; where
    another was faster it is applied to what that one left. None: the session has ended, and the write was dropped."""
    base = session
    for _ in range(TRIES):
        found = yield from write(session.sid, update(base), select, clock)
        if found.applied or found.session is None:
            return found.session
        base = found.session
    raise Unavailable("Too many requests are changing this session at once.", retry_after=1)


def announce(facts: Sequence[events.Fact], sign: Sign) -> Operation[list[events.Fact]]:
    """Tell Redis what has happened: mark the ended sessions, which nothing may keep waiting; then stream and publish.

    Returns the facts that were told whole. The others are those that did not reach Redis, and those that wait for a
    signature: they are published, and come into the stream with it, for there verifiers look.
    """
    told: list[events.Fact] = []
    try:
        for marks in _portions(list(_marks(facts))):
            yield ask(*marks)
        for some in _portions(facts):
            try:
                signed = sign(some)
            except Unavailable:
                yield ask(*map(_publish, some))
            else:
                yield ask(*_messages(some, signed))
                told += some
    except RedisDown:
        return told
    return told


def _portions(things: Sequence[T]) -> Iterator[Sequence[T]]:
    return (things[start : start + ANNOUNCED_AT_ONCE] for start in range(0, len(things), ANNOUNCED_AT_ONCE))


def _marks(facts: Sequence[events.Fact]) -> Iterator[Command]:
    for fact in facts:
        if fact.name == events.SESSION_ENDED and fact.sid:
            yield "SET", key_of(fact.sid), ENDED, "PX", ENDED_LIFE


def _messages(facts: Sequence[events.Fact], signed: Sequence[str | None]) -> Iterator[Command]:
    for fact, token in zip(facts, signed, strict=True):
        entry = ("fact", events.dump(fact)) + (("set", token) if token else ())
        yield "XADD", events.STREAM, "MAXLEN", "~", events.STREAM_LENGTH, "*", *entry
        yield _publish(fact)


def _publish(fact: events.Fact) -> Command:
    return "PUBLISH", events.STREAM, events.dump(fact)


class Store:
    """The sync door: web, workers and the command line."""

    def __init__(self, redis: SyncDoor, clock: Clock = time.time) -> None:
        self.redis = redis
        self.clock = clock

    def run(self, operation: Operation[T]) -> T:
        try:
            step = next(operation)
            while True:
                try:
                    answer = self.perform(step)
                except (RedisDown, StorageDown) as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def perform(self, step: Ask | Statement) -> Any:
        return self.redis.execute(*step.commands) if isinstance(step, Ask) else step.run()


class AsyncStore:
    """The async door: the bridge. Its statements are calls that return awaitables."""

    def __init__(self, redis: AsyncDoor, clock: Clock = time.time) -> None:
        self.redis = redis
        self.clock = clock

    async def run(self, operation: Operation[T]) -> T:
        try:
            step = next(operation)
            while True:
                try:
                    answer = await self.perform(step)
                except (RedisDown, StorageDown) as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def perform(self, step: Ask | Statement) -> Any:
        return await self.redis.execute(*step.commands) if isinstance(step, Ask) else await step.run()

    async def load(self, token: Token, loader: "Loader") -> Session | None:
        return await self.run(load(token, lambda: loader(token.sid), self.clock))


Loader = Callable[[str], Awaitable[Found]]
