"""What goes when its time has come: in small portions, so that nobody waits for a lock, and as often as it takes."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, delete, select

from authsvc.core import events
from authsvc.core.settings import DAY, MINUTE
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.domain.deletions import Deletions
from authsvc.domain.keys import Keys
from authsvc.domain.sessions import Sessions
from authsvc.models import ApiKey, Code, Event, Grant, Job, Link, Registration, Result, RevokedToken, Session

BATCH = 500
# How long what is over is kept, in seconds: for the account's owner, for operators, and for whoever looks into misuse.
ENDED_SESSIONS = 30 * DAY
DONE_JOBS = 7 * DAY
DEAD_JOBS = 90 * DAY
USED_LINKS = DAY
USED_CODES = DAY  # that one was used twice ends what came of it
REVOKED_TOKENS = MINUTE  # after they would have expired, for clocks that differ
ENDED_GRANTS = 30 * DAY
DEAD_API_KEYS = 90 * DAY
ATTEMPTS = 30 * DAY
FACTS = 400 * DAY


class Upkeep:
    def __init__(self, db: Database, sessions: Sessions, deletions: Deletions, keys: Keys, clock: Clock) -> None:
        self._db = db
        self._sessions = sessions
        self._deletions = deletions
        self._keys = keys
        self._clock = clock

    def clean_up(self, until: float) -> int:
        """Everything whose time has come; stops at the unix second `until`, and the next run goes on. Returns how many
        rows that were."""
        total = 0
        for step in self._steps():
            while (count := step()) and self._clock() < until:
                total += count
            total += count
        return total

    def _steps(self) -> list[Callable[[], int]]:
        now = int(self._clock())
        over = [
            (Session.sid, Session.ended_at <= now - ENDED_SESSIONS),
            (Registration.id, Registration.expires_at <= now),
            (Link.id, Link.expires_at <= now - USED_LINKS),
            (Result.job_id, Result.expires_at <= now),
            (Job.id, Job.done_at <= now - DONE_JOBS),
            (Job.id, Job.dead_at <= now - DEAD_JOBS),
            (Code.hash, Code.expires_at <= now - USED_CODES),
            (RevokedToken.jti, RevokedToken.expires_at <= now - REVOKED_TOKENS),
            (Grant.id, Grant.ended_at <= now - ENDED_GRANTS),
            (Grant.id, Grant.expires_at <= now - ENDED_GRANTS),
            (ApiKey.id, ApiKey.revoked_at <= now - DEAD_API_KEYS),
            (ApiKey.id, ApiKey.expires_at <= now - DEAD_API_KEYS),
            (Event.id, Event.name.in_(events.ATTEMPTS) & (Event.at <= now - ATTEMPTS)),
            (Event.id, Event.delivered_at.is_not(None) & (Event.at <= now - FACTS)),
        ]
        removing = [self._removing(key, condition) for key, condition in over]
        return [self._sessions.end_expired, self._deletions.erase_due, self._keys.clean_up, *removing]

    def _removing(self, key: Any, condition: ColumnElement[bool]) -> Callable[[], int]:
        def remove() -> int:
            portion = select(key).where(condition).order_by(key).limit(BATCH)
            with self._db.transaction() as sql:
                return len(
                    sql.scalars(delete(key.class_).where(key.in_(portion.scalar_subquery())).returning(key)).all()
                )

        return remove
