"""Rate limits that count failures only: an attempt takes a place before it is judged, and gives it back if it succeeds.

A limit is a sliding window in one sorted set. Places are taken atomically, so fifty attempts at once do not get past a
limit of ten (the common limiters count after the fact, or cannot take a count back).
"""

import math
import secrets
from typing import NamedTuple

from authsvc.core.redis import SyncRedis

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
    """A place taken in a window; `give_back` it if the attempt was not a failure."""

    key: str
    member: str

    def give_back(self, redis: SyncRedis) -> None:
        redis.execute(("ZREM", self.key, self.member))


class Full(Exception):
    """The window is full. `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


def take(redis: SyncRedis, limit: Limit, subject: str, now: float) -> Place:
    """Take a place. Raises Full, or RedisDown."""
    place = Place(limit.key(subject), secrets.token_hex(8))
    now_ms, window_ms = int(now * 1000), limit.seconds * 1000
    oldest = redis.execute(("EVAL", TAKE, 1, place.key, now_ms, window_ms, limit.most, place.member)).values[0]
    if oldest is not None:
        raise Full(max(1, math.ceil((float(oldest) + window_ms - now_ms) / 1000)))
    return place
