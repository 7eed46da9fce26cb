"""Rate limits that count failures only: an attempt takes a place before it is judged, and gives it back if it succeeds.

A limit is a sliding window in one sorted set. Places are taken atomically, so fifty attempts at once do not get past a
limit of ten (the common limiters count after the fact, or cannot take a count back).
"""

import math
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from authsvc.core.cluster import SyncDoor
from authsvc.core.errors import RedisDown

TAKE = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - ARGV[2])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  return redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return false
"""


class Limit(NamedTuple):
    """At most `most` failures in `seconds` for each key."""

    name: str
    most: int
    seconds: int

    def key(self, subject: str) -> str:
        return f"authsvc:limit:{self.name}:{subject}"


class Place(NamedTuple):
    """A place taken in a window."""

    key: str
    member: str


class Full(Exception):
    """A window is full. `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


def take(redis: SyncDoor, wanted: Sequence[tuple[Limit, str]], now: float) -> list[Place]:
    """Take a place under each limit for its subject, or none at all. Raises Full, or RedisDown."""
    places = [Place(limit.key(subject), secrets.token_hex(8)) for limit, subject in wanted]
    now_ms = int(now * 1000)
    commands = [
        ("EVAL", TAKE, 1, place.key, now_ms, limit.seconds * 1000, limit.most, place.member)
        for place, (limit, _) in zip(places, wanted, strict=True)
    ]
    try:
        oldest = redis.execute(*commands).values
    except RedisDown:  # one server of a Cluster is away, and places may be taken on others
        with suppress(RedisDown):
            give_back(redis, places)
        raise
    waits = [
        float(first) / 1000 + limit.seconds - now
        for first, (limit, _) in zip(oldest, wanted, strict=True)
        if first is not None
    ]
    if waits:
        give_back(redis, [place for place, first in zip(places, oldest, strict=True) if first is None])
        raise Full(max(1, math.ceil(max(waits))))
    return places


def give_back(redis: SyncDoor, places: Sequence[Place]) -> None:
    """Give back the places of an attempt that was not a failure. Raises RedisDown."""
    if places:
        redis.execute(*(("ZREM", place.key, place.member) for place in places))
