"""A session, the rules about it, and its hot copy in Redis. Pure: whoever calls brings the time."""

import json
from typing import Any, NamedTuple

import msgpack

RECORD = 1  # layout of the hot copy; another number is not believed and read anew from SQL
SHAPE = (int, str, bytes, str, str, str, list, int, int, int, list, int, int, str, dict, int, bytes, int)


class Session(NamedTuple):
    """A live session as SQL has it. Times are unix seconds, `idle` and `absolute` durations in seconds."""

    sid: str
    hash: bytes  # sha256 of the current token's secret
    user: str
    email: str
    name: str
    roles: tuple[str, ...]
    created: int
    seen: int
    authenticated: int
    amr: tuple[str, ...]  # RFC 8176
    idle: int
    absolute: int
    device: str
    data: dict[str, Any]
    version: int  # counts the changes of data and token


def expires(session: Session) -> int:
    """When it ends whatever its user does, in unix seconds."""
    return session.created + session.absolute


def idle_expires(session: Session) -> int:
    """When it ends if nobody uses it any more, in unix seconds."""
    return session.seen + session.idle


def alive(session: Session, now: float) -> bool:
    return now < expires(session) and now < idle_expires(session)


def fresh(session: Session, now: float, max_age: int) -> bool:
    """Whether its user proved who they are within `max_age` seconds (step-up)."""
    return now - session.authenticated <= max_age


class Copy(NamedTuple):
    """A hot copy and its stamp: the server run and the time (unix ms) at which SQL was asked."""

    session: Session
    run: bytes
    checked: int


def encode(copy: Copy) -> bytes:
    s = copy.session
    packed: bytes = msgpack.packb(
        (
            RECORD, s.sid, s.hash, s.user, s.email, s.name, s.roles, s.created, s.seen, s.authenticated, s.amr,
            s.idle, s.absolute, s.device, s.data, s.version, copy.run, copy.checked,
        )
    )  # fmt: skip
    return packed


def keepable(data: dict[str, Any]) -> bool:
    """Whether data can lie in SQL (JSON) and in a copy (msgpack). No NaN, no half of a surrogate pair, 64-bit ints."""
    try:
        msgpack.packb(json.loads(json.dumps(data, allow_nan=False)))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return False
    return True


def decode(value: bytes) -> Copy | None:
    """The copy in a Redis value; None for a mark and for anything else that is not a copy."""
    if not value.startswith(b"\xdc\x00\x12"):  # msgpack's array of 18
        return None
    try:
        fields = msgpack.unpackb(value)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    if tuple(map(type, fields)) != SHAPE or fields[0] != RECORD:
        return None
    fields[6], fields[10] = tuple(fields[6]), tuple(fields[10])  # roles, amr
    return Copy(Session._make(fields[1:16]), fields[16], fields[17])
