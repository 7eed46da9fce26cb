"""What the feed has told: which sessions and grants have ended, and whose roles have changed (CAEP 1.0).

Nothing is kept longer than a token lives, and never more than so many entries: past that, the set says of itself that
it does not know everything, until what it had to leave out no longer matters.
"""

import math
from typing import Any, NamedTuple, TypeVar

from authsvc.core.errors import TokenRefused
from authsvc.sdk.caller import Caller

LONGEST_LIFE = 360  # seconds, of an access token; one that lives longer is refused, for its end would be forgotten
LEEWAY = 5  # seconds between the issuer's clock and ours
KEPT_FOR = LONGEST_LIFE + 2 * LEEWAY  # of a token that was issued a little ahead of our clock, and expires behind it
MAX_ENTRIES = 100_000
EVENTS = "https://schemas.openid.net/secevent/caep/event-type/"
SESSION_REVOKED = EVENTS + "session-revoked"
CLAIMS_CHANGE = EVENTS + "token-claims-change"

T = TypeVar("T")


class Roles(NamedTuple):
    """What a user may since `at`; tokens that were issued until then say something older."""

    at: float
    roles: frozenset[str]
    until: float


class Revoked:
    """Written by the feed alone; read by all threads at once, without a lock, one look-up at a time."""

    def __init__(self, limit: int = MAX_ENTRIES) -> None:
        self.ended: dict[str, float] = {}  # sid or gid -> when it may be forgotten
        self.roles: dict[str, Roles] = {}
        self.lossy_until = -math.inf
        self._limit = limit

    def __len__(self) -> int:
        return len(self.ended) + len(self.roles)

    def hear(self, claims: dict[str, Any], now: float) -> None:
        """Take in a verified security event token; `now` is monotonic. Raises TokenRefused for one that cannot be
        understood: what it revoked is then not known."""
        self.prune(now)
        try:
            for kind, event in claims["events"].items():
                self._take(kind, event, claims.get("sub_id", {}), now + KEPT_FOR)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise TokenRefused("malformed") from error

    def _take(self, kind: str, event: dict[str, Any], subject: dict[str, Any], until: float) -> None:
        if kind == SESSION_REVOKED:
            self._put(self.ended, subject["grant" if "grant" in subject else "session"]["id"], until, until)
        elif kind == CLAIMS_CHANGE and "roles" in event["claims"]:
            roles = Roles(float(event["event_timestamp"]), frozenset(event["claims"]["roles"]), until)
            known = self.roles.get(subject["sub"])
            if known is None or known.at <= roles.at:  # else it is told again
                self._put(self.roles, subject["sub"], roles, until)

    def _put(self, entries: dict[str, T], name: str, entry: T, until: float) -> None:
        entries.pop(name, None)  # so that the oldest stay in front
        if len(self) < self._limit:
            entries[name] = entry
        else:
            self.lossy_until = until

    def prune(self, now: float) -> None:
        while self.ended and self.ended[next(iter(self.ended))] <= now:
            del self.ended[next(iter(self.ended))]
        while self.roles and self.roles[next(iter(self.roles))].until <= now:
            del self.roles[next(iter(self.roles))]

    def has(self, caller: Caller) -> bool:
        return caller.session in self.ended or caller.grant in self.ended
