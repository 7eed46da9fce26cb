"""`authsvc.v1`: every close code, every frame, and what a client may say. Pure.

A frame is a text of one JSON object with a `type`. A stream (`/events`) carries the same events as Server-Sent Events.
"""

import json
from enum import IntEnum
from typing import Any, NamedTuple

from authsvc.core.errors import AuthsvcError, BadRequest, CrossSite, RateLimited, Unauthenticated, Unavailable
from authsvc.core.events import Fact
from authsvc.core.times import rfc3339

SUBPROTOCOL = "authsvc.v1"
FRAME_LIMIT = 16 * 1024  # bytes of a client's message
RETRY = 3000  # milliseconds after which an EventSource comes back


class Close(IntEnum):
    """Why a connection is closed: the number is the WebSocket close code, the name in lower case its reason."""

    BAD_DATA = 1007  # a text frame that is not UTF-8
    TOO_BIG = 1009
    BUG = 1011
    RESTARTING = 1012
    OVERLOADED = 1013  # nobody could tell whether the session lives: come back later
    BAD_FRAME = 4400
    NO_SESSION = 4401  # it has ended, or the cookie is dead
    NOT_ALLOWED = 4403
    TIMEOUT = 4408
    TOO_MANY = 4409
    TOO_FAST = 4429  # the client writes too fast, or reads too slowly

    @property
    def reason(self) -> str:
        return self.name.lower()


CLOSES: dict[type[AuthsvcError], Close] = {
    BadRequest: Close.BAD_FRAME,
    Unauthenticated: Close.NO_SESSION,
    CrossSite: Close.NOT_ALLOWED,
    RateLimited: Close.TOO_MANY,
    Unavailable: Close.OVERLOADED,
}


def close_of(error: Exception) -> Close:
    """The close code of a refusal, or of a fault of ours."""
    return next((CLOSES[kind] for kind in type(error).__mro__ if kind in CLOSES), Close.BUG)


class Event(NamedTuple):
    """Something that has happened, as sockets (`frame`) and as streams (`chunk`) get it: written once for all."""

    frame: str
    chunk: str


def event(fact: Fact) -> Event:
    """`data` is the fact's own, with the time as `at` and the session it is about, if any, as `sid`."""
    data = {**fact.data, "at": rfc3339(fact.at)}
    if fact.sid:
        data["sid"] = fact.sid
    event_id = "" if fact.id is None else str(fact.id)
    frame = {"type": "event", "id": event_id, "topic": f"user:{fact.user}", "event": fact.name, "data": data}
    return Event(_json(frame), chunk(fact.name, data, event_id))


def hello(sid: str, user: str, cursor: str, heartbeat: int) -> str:
    """The first frame. `heartbeat`: seconds between two pings of ours on a quiet socket."""
    return _json({"type": "hello", "sid": sid, "user": user, "cursor": cursor, "heartbeat": heartbeat})


def error(code: str, message: str) -> str:
    return _json({"type": "error", "code": code, "message": message})


def chunk(name: str, data: dict[str, Any], event_id: str = "") -> str:
    return message(name, _json(data), event_id)


def message(name: str, data: str, event_id: str = "") -> str:
    """A Server-Sent Event (HTML standard, 9.2.6) with one line of data."""
    return (f"id: {event_id}\n" if event_id else "") + f"event: {name}\ndata: {data}\n\n"


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


PONG = _json({"type": "pong"})
UNKNOWN_TYPE = error("unknown_type", "There is no frame of this type. Known is: ping.")
STREAM_BEGINS = f"retry: {RETRY}\n\n"
STREAM_ENDED = chunk("session", {"state": "ended"})
STREAM_BEATS = ":\n\n"


def parse(text: str | None) -> dict[str, Any]:
    """The frame in a client's message; None stands for a binary one. Raises BadRequest."""
    if text is None:
        raise BadRequest("Frames are text.")
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequest("A frame is a JSON object.") from None
    if not isinstance(frame, dict):
        raise BadRequest("A frame is a JSON object.")
    return frame


def answer(frame: dict[str, Any]) -> str:
    """What a client's frame is answered with."""
    return PONG if frame.get("type") == "ping" else UNKNOWN_TYPE


class Pace:
    """How fast a client may write: MOST messages in SECONDS."""

    MOST, SECONDS = 100, 10
    __slots__ = ("_count", "_since")

    def __init__(self) -> None:
        self._count, self._since = 0, 0.0

    def too_fast(self, now: float) -> bool:
        """Counts one message. `now` in seconds of any clock that goes forward."""
        if now - self._since >= self.SECONDS:
            self._count, self._since = 0, now
        self._count += 1
        return self._count > self.MOST
