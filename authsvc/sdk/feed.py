"""The revocation feed as a verifier follows it: where it stands, and until when it is believed to be complete.

The promise is of time, not of connections: while good_until lies ahead, every revocation that is older than `silence`
seconds has been heard. So a short break changes nothing, and a connection that is open and silent does not count.
"""

import logging
import math
import random
from collections.abc import Callable

from authsvc.sdk.revoked import Revoked

RETRY = 0.1  # seconds, doubled with each try that fails, up to
LONGEST_RETRY = 5.0

log = logging.getLogger("authsvc.sdk")


class Feed:
    """`silence` and `grace` in seconds: how long after the last byte the feed counts as complete, and how much longer
    tokens are accepted then. Times are monotonic."""

    def __init__(self, revoked: Revoked, silence: float, grace: float, ticks: Callable[[], float]) -> None:
        self.good_until = ticks() + grace
        self.heard: float | None = None  # when the last byte came on which it was complete
        self.cursor = ""
        self.silence = silence
        self._grace = grace
        self._revoked = revoked
        self._ticks = ticks
        self._ready = False
        self._failures = 0

    @property
    def complete(self) -> bool:
        return self.heard is not None and self._ticks() < self.heard + self.silence

    def headers(self, token: str) -> dict[str, str]:
        """Of the request that opens it, or goes on where it broke off."""
        self._ready = False
        resume = {"Last-Event-ID": self.cursor} if self.cursor else {}
        return {"Authorization": f"Bearer {token}", **resume}

    def ready(self) -> None:
        """All that happened before has been told."""
        self._ready = True
        self._failures = 0
        self.beat()

    def beat(self) -> None:
        """A byte has come."""
        now = self._ticks()
        if self._ready and now >= self._revoked.lossy_until:
            self.heard = now
            self.good_until = now + self.silence + self._grace

    def broke_off(self, error: Exception | None) -> float:
        """Seconds to wait before the next try; at random, so that the verifiers of a fleet do not come back as one."""
        if error:
            log.warning("the revocation feed broke off: %r", error)
        pause = min(RETRY * 2**self._failures, LONGEST_RETRY)
        self._failures = min(self._failures + 1, 16)
        return random.uniform(0, pause)  # noqa: S311 - no secret

    def state(self) -> str:
        return "off" if self.good_until == math.inf and self.heard is None else "fresh" if self.complete else "stale"
