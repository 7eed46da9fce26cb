"""The issuer's keys, kept (RFC 9111, RFC 5861), and when to ask for them. No I/O in here; `now` is monotonic."""

import math
import re
from collections.abc import Mapping

from authsvc.core.jwt import PublicKey, load_jwks

UNSAID = 300.0  # seconds of each age that the issuer does not name
LONGEST_AGE = 86_400.0
PAUSE = 1.0  # seconds between two requests, whatever is asked for
UNKNOWN_FOR = 10.0  # seconds for which a kid that the issuer does not know is not asked for again
MAX_UNKNOWN = 1000
DOUBT = 15.0  # seconds after a key was revoked, within which the issuer's own processes have all heard of it
DOUBTED_AGE = 3.0  # seconds that keys are fresh meanwhile


class KeyCache:
    def __init__(self) -> None:
        self.keys: Mapping[str, PublicKey] = {}
        self.fetches = 0
        self._asked = self._fresh_until = self._usable_until = self._doubted_until = -math.inf
        self._unknown: dict[str, float] = {}

    def usable(self, now: float) -> bool:
        return now < self._usable_until

    def settled(self, kid: str, now: float) -> bool:
        """Whether there is nothing to ask for: the case of nearly every token."""
        return kid in self.keys and now < self._fresh_until and now < self._usable_until

    def due(self, now: float) -> bool:
        return now >= self._fresh_until and now - self._asked >= PAUSE

    def unheard(self, kid: str, now: float) -> bool:
        """Whether the issuer may know a key of this name that we do not know."""
        return kid not in self.keys and self._unknown.get(kid, now) <= now

    def worth_asking(self, kid: str | None, now: float) -> bool:
        """Not twice within a second, however many kids are made up."""
        return self.due(now) or (kid is not None and self.unheard(kid, now) and now - self._asked >= PAUSE)

    def asking(self, now: float) -> None:
        self.fetches += 1
        self._asked = now

    def fill(self, document: object, cache_control: str, now: float) -> bool:
        """Take a JWKS. True if a key has gone since the last one. Raises KeysRefused, and then keeps what it had."""
        keys = load_jwks(document)
        gone = any(keys.get(kid) != key for kid, key in self.keys.items())
        if keys != self.keys:  # else the same object says that nothing has changed
            self.keys = keys
        max_age = _seconds(cache_control, "max-age")
        self._fresh_until = now + (min(max_age, DOUBTED_AGE) if self.doubted_for(now) < math.inf else max_age)
        self._usable_until = self._fresh_until + _seconds(cache_control, "stale-while-revalidate")
        return gone

    def missing(self, kid: str, now: float) -> None:
        while len(self._unknown) >= MAX_UNKNOWN:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[kid] = now + UNKNOWN_FOR

    def expire(self, now: float) -> None:
        """One of them is no longer to be believed, and it is not known which."""
        self.keys = {}
        self._asked = self._fresh_until = self._usable_until = -math.inf
        self._doubted_until = now + DOUBT

    def doubted_for(self, now: float) -> float:
        """Seconds for which the set may still have a revoked key in it; without end if nothing speaks for that."""
        return self._doubted_until - now if now < self._doubted_until else math.inf


def _seconds(cache_control: str, directive: str) -> float:
    found = re.search(rf'(?:^|[\s,]){directive}="?(\d{{1,9}})', cache_control, re.IGNORECASE)
    return min(float(found[1]), LONGEST_AGE) if found else UNSAID
