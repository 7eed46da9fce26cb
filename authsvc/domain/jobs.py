"""Work for later as rows: written in the transaction of their cause, handed to a worker by the relay, tried until done
or dead. Whoever is killed in between, the row is still there, and `due_at` brings it back."""

import random
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.orm import Session as Sql

from authsvc.core.crypto import new_id
from authsvc.core.errors import NotFound, RedisDown
from authsvc.core.settings import HOUR
from authsvc.core.store import Clock, Store
from authsvc.db import Database
from authsvc.models import Job as Row
from authsvc.models import Schedule, table

WAKE = "authsvc:wake"  # a channel of Redis: there is something to do
AGAIN = 60  # seconds after which a job that was handed on, and that nobody has begun, is handed on again
LEASE = 330  # seconds that one attempt may take; a worker is killed before (jobs/celery.py)
BATCH = 100
LONGEST_REASON = 300

MAIL = "mail"
EXPORT = "account.export"
CLEANUP = "upkeep.cleanup"


class Kind(NamedTuple):
    """How a kind of job is tried: on which queue, how often at most, and with which first pause in seconds. The pauses
    double up to an hour."""

    queue: str
    tries: int
    pause: int


KINDS = {
    MAIL: Kind("mail", 32, 10),  # about a day
    EXPORT: Kind("default", 5, 10),
    CLEANUP: Kind("upkeep", 3, 60),
}
QUEUES = ("mail", "default", "upkeep")
EVERY = {CLEANUP: 300}  # periodic jobs: seconds from one to the next

OPEN = (Row.done_at.is_(None), Row.dead_at.is_(None))


@dataclass(frozen=True, slots=True)
class Job:
    """Times are unix seconds, `progress` percent. `error` is why the last attempt failed."""

    id: str
    kind: str
    user: str | None
    data: dict[str, Any]
    created: int
    due: int
    attempts: int
    progress: int
    error: str | None
    leased_until: int | None
    done: int | None
    dead: int | None

    def state(self, now: float) -> str:
        if self.dead is not None:
            return "failed"
        if self.done is not None:
            return "done"
        return "running" if self.leased_until is not None and self.leased_until > now else "queued"


def add(sql: Sql, kind: str, now: float, *, user: str | None = None, data: dict[str, Any] | None = None) -> str:
    """Write a job in the caller's transaction; returns its id. `Jobs.wake()` after the commit makes it begin at once.
    `data` holds ids and plain facts, never a secret."""
    job_id = new_id()
    row = {"id": job_id, "kind": kind, "user_id": user, "data": data or {}, "created_at": int(now), "due_at": int(now)}
    sql.execute(insert(table(Row)), row)
    return job_id


def pause(kind: Kind, attempts: int, chance: float) -> int:
    """Seconds to wait after so many failed attempts. `chance` from 0 to 1 spreads those that failed together."""
    return int(min(kind.pause * 2 ** (attempts - 1), HOUR) * (0.75 + chance / 2)) + 1


class Jobs:
    def __init__(self, db: Database, store: Store) -> None:
        self._db = db
        self._redis = store.redis
        self._clock: Clock = store.clock

    # -- for the relay ---------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Tell a relay that there is something to do; without Redis its next sweep will find it."""
        try:
            self._redis.execute(("PUBLISH", WAKE, ""))
        except RedisDown:
            return

    def claim(self, most: int = BATCH) -> list[tuple[str, str]]:
        """Ids and queues of jobs that are due, for this relay alone: they are due again in a while."""
        now = int(self._clock())
        due = select(Row.id).where(*OPEN, Row.due_at <= now).order_by(Row.due_at).limit(most)
        with self._db.reading() as sql:  # most often there is nothing, and on SQLite a look disturbs no writer
            if sql.scalar(due) is None:
                return []
        with self._db.transaction() as sql:
            mine = update(Row).where(Row.id.in_(due.with_for_update(skip_locked=True).scalar_subquery()))
            rows = sql.execute(mine.values(due_at=now + AGAIN).returning(Row.id, Row.kind)).all()
        return [(job_id, KINDS[kind].queue) for job_id, kind in rows]

    def schedule(self) -> list[str]:
        """Write the periodic jobs whose time has come; returns their kinds. Of many relays one has the turn."""
        now = int(self._clock())
        with self._db.reading() as sql:
            planned = {row.kind: row.due_at for row in sql.scalars(select(Schedule))}
        wanted = [kind for kind in EVERY if planned.get(kind, 0) <= now]
        return [kind for kind in wanted if self._take_turn(kind, now, new=kind not in planned)]

    def _take_turn(self, kind: str, now: int, *, new: bool) -> bool:
        with self._db.transaction() as sql:
            if new:
                _insert_if_new(sql, kind)
            turn = (
                update(Schedule).where(Schedule.kind == kind, Schedule.due_at <= now).values(due_at=now + EVERY[kind])
            )
            if sql.execute(turn.returning(Schedule.kind)).one_or_none() is None:
                return False
            if sql.scalar(select(Row.id).where(*OPEN, Row.kind == kind).limit(1)) is None:  # else it is still at work
                add(sql, kind, now)
        return True

    # -- for a worker ----------------------------------------------------------------------------------------------

    def begin(self, job_id: str) -> Job | None:
        """The job, for this worker alone; None if another has it, or it is over. Each beginning counts as an attempt:
        a job that kills its worker ends as a dead letter."""
        now = int(self._clock())
        free = or_(Row.leased_until.is_(None), Row.leased_until <= now)
        mine = update(Row).where(Row.id == job_id, *OPEN, free)
        lease = {"attempts": Row.attempts + 1, "leased_until": now + LEASE, "due_at": now + LEASE}
        with self._db.transaction() as sql:
            row = sql.scalar(mine.values(**lease).returning(Row))
            job = _job(row) if row else None
        if job and job.attempts > KINDS[job.kind].tries:
            self.bury(job.id, job.error or "Every worker that tried it was lost.")
            return None
        return job

    def done(self, job_id: str) -> None:
        self._set(job_id, done_at=int(self._clock()), progress=100, error=None)

    def failed(self, job: Job, why: str) -> None:
        """Try again later, or not at all if that was the last try."""
        kind = KINDS[job.kind]
        if job.attempts >= kind.tries:
            self.bury(job.id, why)
            return
        wait = pause(kind, job.attempts, random.random())  # noqa: S311 - no secret
        self._set(job.id, due_at=int(self._clock()) + wait, leased_until=None, error=why[:LONGEST_REASON])

    def bury(self, job_id: str, why: str) -> None:
        """Make it a dead letter: it is not tried again unless an operator says so."""
        self._set(job_id, dead_at=int(self._clock()), leased_until=None, error=why[:LONGEST_REASON])

    def progressed(self, job_id: str, percent: int) -> bool:
        """Note how far a job has come; False if it is to stop, for somebody has cancelled it."""
        now = int(self._clock())
        going = update(Row).where(Row.id == job_id, *OPEN)
        with self._db.transaction() as sql:
            values = {"progress": percent, "leased_until": now + LEASE, "due_at": now + LEASE}
            return sql.execute(going.values(**values).returning(Row.id)).one_or_none() is not None

    # -- for operators ---------------------------------------------------------------------------------------------

    def get(self, job_id: str) -> Job:
        """Raises NotFound."""
        with self._db.reading() as sql:
            row = sql.get(Row, job_id)
        if row is None:
            raise NotFound("There is no such job.")
        return _job(row)

    def listed(self, *, dead: bool) -> list[Job]:
        """Dead letters, or what is still open, oldest first."""
        wanted = (Row.dead_at.is_not(None),) if dead else OPEN
        with self._db.reading() as sql:
            return [_job(row) for row in sql.scalars(select(Row).where(*wanted).order_by(Row.created_at).limit(1000))]

    def retry(self, job_id: str) -> None:
        """Try a dead letter again from the beginning. Raises NotFound."""
        again = {"dead_at": None, "attempts": 0, "due_at": int(self._clock()), "error": None}
        self._change_dead(update(Row).values(**again), job_id)
        self.wake()

    def drop(self, job_id: str) -> None:
        """Forget a dead letter. Raises NotFound."""
        self._change_dead(delete(Row), job_id)

    def waiting(self) -> dict[str, int]:
        """For how many seconds the oldest job that nobody has begun waits, by queue; nothing for queues without one."""
        now = int(self._clock())
        begun = Row.attempts == 0
        with self._db.reading() as sql:
            oldest = sql.execute(
                select(Row.kind, func.min(Row.created_at)).where(*OPEN, begun).group_by(Row.kind)
            ).all()
        waits: dict[str, int] = {}
        for kind, since in oldest:
            queue = KINDS[kind].queue
            waits[queue] = max(waits.get(queue, 0), now - since)
        return waits

    def _set(self, job_id: str, **values: Any) -> None:
        with self._db.transaction() as sql:
            sql.execute(update(Row).where(Row.id == job_id).values(**values))

    def _change_dead(self, statement: Any, job_id: str) -> None:
        with self._db.transaction() as sql:
            dead = statement.where(Row.id == job_id, Row.dead_at.is_not(None)).returning(Row.id)
            if sql.scalar(dead) is None:
                raise NotFound("There is no such dead letter.")


def _insert_if_new(sql: Sql, kind: str) -> None:
    dialect = sql.get_bind().dialect.name
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as insert_  # noqa: PLC0415
    else:
        from sqlalchemy.dialects.postgresql import insert as insert_  # type: ignore[assignment]  # noqa: PLC0415
    sql.execute(insert_(table(Schedule)).values(kind=kind, due_at=0).on_conflict_do_nothing())


def _job(row: Row) -> Job:
    return Job(
        row.id, row.kind, row.user_id, row.data, row.created_at, row.due_at, row.attempts, row.progress, row.error,
        row.leased_until, row.done_at, row.dead_at,
    )  # fmt: skip
