"""Work for later as rows: written in the transaction of their cause, handed to a worker by the relay, tried until done
or dead. Whoever is killed in between, the row is still there, and `due_at` brings it back."""

import random
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.orm import Session as Sql

from authsvc.core import request_ids
from authsvc.core.crypto import new_id
from authsvc.core.errors import NotFound, RedisDown
from authsvc.core.settings import DAY, HOUR, Settings
from authsvc.core.store import Clock, Store
from authsvc.db import Database
from authsvc.models import Job as Row
from authsvc.models import Schedule, table

WAKE = "authsvc:wake"  # a channel of Redis: there is something to do
WORKERS = "authsvc:workers"  # a sorted set of Redis: when each worker was heard of last
SLACK = 5  # seconds between the death of an attempt that took too long and the end of its lease
BATCH = 100
LONGEST_REASON = 300
LOST = "The worker that tried it was lost."

MAIL = "mail"
EXPORT = "account.export"
CLEANUP = "upkeep.cleanup"
LOGOUT = "logout"


class TryLater(Exception):
    """This attempt has failed as attempts do, and another may not. Says why, without a secret."""


class Hopeless(Exception):
    """No further try can help: the job is a dead letter at once. Says why, without a secret."""


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
    LOGOUT: Kind("logout", 12, 5),  # about three hours
}
TASKS = frozenset({EXPORT})  # jobs whose user may look after them
QUEUES = ("mail", "default", "upkeep", "logout")
EVERY = {CLEANUP: 300}  # periodic jobs: seconds from one to the next

OPEN = (Row.done_at.is_(None), Row.dead_at.is_(None))


State = Literal["queued", "running", "done", "failed"]


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
    request_id: str | None = None  # of the request that has left it

    def state(self, now: float) -> State:
        if self.dead is not None:
            return "failed"
        if self.done is not None:
            return "done"
        return "running" if self.leased_until is not None and self.leased_until > now else "queued"


def add(sql: Sql, kind: str, now: float, *, user: str | None = None, data: dict[str, Any] | None = None) -> str:
    """Write a job in the caller's transaction; returns its id. `Jobs.wake()` after the commit makes it begin at once.
    `data` holds ids and plain facts, never a secret."""
    job_id = new_id()
    row = {
        "id": job_id, "kind": kind, "user_id": user, "data": data or {}, "created_at": int(now), "due_at": int(now),
        "request_id": request_ids.current(),
    }  # fmt: skip
    sql.execute(insert(table(Row)), row)
    return job_id


def finish(sql: Sql, job_id: str, now: float) -> bool:
    """Note in the caller's transaction that a job is done; False if it is over already, or cancelled."""
    done = update(Row).where(Row.id == job_id, *OPEN).values(done_at=int(now), progress=100, error=None)
    return sql.scalar(done.returning(Row.id)) is not None


def pause(kind: Kind, attempts: int, chance: float) -> int:
    """Seconds to wait after so many failed attempts. `chance` from 0 to 1 spreads those that failed together."""
    return int(min(kind.pause * 2 ** (attempts - 1), HOUR) * (0.75 + chance / 2)) + 1


class Jobs:
    def __init__(self, db: Database, store: Store, settings: Settings) -> None:
        self._db = db
        self._lease = settings.job_limit + SLACK
        self._redis = store.redis
        self._clock: Clock = store.clock

    # -- for the relay ---------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Tell a relay that there is something to do; without Redis its next sweep will find it."""
        try:
            self._redis.execute(("PUBLISH", WAKE, ""))
        except RedisDown:
            return

    def alive(self, worker: str) -> None:
        """A worker's heartbeat. Raises RedisDown."""
        now = int(self._clock())
        self._redis.execute(("ZADD", WORKERS, now, worker), ("ZREMRANGEBYSCORE", WORKERS, "-inf", now - DAY))

    def signed_off(self, worker: str) -> None:
        """A worker has stopped as it should. Raises RedisDown."""
        self._redis.execute(("ZREM", WORKERS, worker))

    def workers(self) -> dict[str, int]:
        """For how many seconds each worker was not heard of. Raises RedisDown."""
        heard = self._redis.execute(("ZRANGE", WORKERS, 0, -1, "WITHSCORES")).values[0]
        now = int(self._clock())
        return {name.decode(): now - int(at) for name, at in zip(heard[::2], heard[1::2], strict=True)}

    def claim(self, most: int = BATCH) -> list[tuple[str, str]]:
        """Ids and kinds of jobs that are due, for this relay alone. They are due again when a worker should have begun
        them long ago: the message may be lost."""
        now = int(self._clock())
        due = select(Row.id).where(*OPEN, Row.due_at <= now).order_by(Row.due_at).limit(most)
        with self._db.reading() as sql:  # most often there is nothing, and on SQLite a look disturbs no writer
            if sql.scalar(due) is None:
                return []
        with self._db.transaction() as sql:
            mine = update(Row).where(Row.id.in_(due.with_for_update(skip_locked=True).scalar_subquery()))
            rows = sql.execute(mine.values(due_at=now + self._lease).returning(Row.id, Row.kind)).all()
        return [(job_id, kind) for job_id, kind in rows]

    def give_back(self, job_ids: list[str]) -> None:
        """Jobs that could not be handed on are due as before."""
        with self._db.transaction() as sql:
            sql.execute(update(Row).where(Row.id.in_(job_ids), *OPEN).values(due_at=int(self._clock())))

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

    def begin(self, job_id: str, message: str) -> Job | None:
        """The job, for this worker alone; None if another has it, or it is over. `message` names the delivery: when the
        same one comes again, the worker that had it is lost, and that counts as a failure."""
        now = int(self._clock())
        free = or_(Row.leased_until.is_(None), Row.leased_until <= now)
        lease = {"leased_until": now + self._lease, "leased_by": message, "due_at": now + self._lease}
        mine = update(Row).where(Row.id == job_id, *OPEN, free).values(attempts=Row.attempts + 1, **lease)
        with self._db.transaction() as sql:
            row = sql.scalar(mine.returning(Row))
            job = _job(row) if row else None
            lost = None if row else sql.scalar(select(Row).where(Row.id == job_id, *OPEN, Row.leased_by == message))
        if lost:
            self.failed(_job(lost), LOST)
        elif job and job.attempts > KINDS[job.kind].tries:
            self.bury(job.id, job.error or LOST)
            return None
        return job

    def done(self, job_id: str) -> None:
        with self._db.transaction() as sql:
            finish(sql, job_id, self._clock())

    def failed(self, job: Job, why: str) -> None:
        """Try again later, or not at all if that was the last try."""
        kind = KINDS[job.kind]
        if job.attempts >= kind.tries:
            self.bury(job.id, why)
            return
        wait = pause(kind, job.attempts, random.random())  # noqa: S311 - no secret
        until = int(self._clock()) + wait
        self._set(job.id, due_at=until, leased_until=None, leased_by=None, error=why[:LONGEST_REASON])

    def bury(self, job_id: str, why: str) -> None:
        """Make it a dead letter: it is not tried again unless an operator says so."""
        over = {"dead_at": int(self._clock()), "leased_until": None, "leased_by": None}
        self._set(job_id, **over, error=why[:LONGEST_REASON])

    def progressed(self, job_id: str, percent: int) -> bool:
        """Note how far a job has come; False if it is to stop, for somebody has cancelled it."""
        now = int(self._clock())
        going = update(Row).where(Row.id == job_id, *OPEN)
        with self._db.transaction() as sql:
            values = {"progress": percent, "leased_until": now + self._lease, "due_at": now + self._lease}
            return sql.execute(going.values(**values).returning(Row.id)).one_or_none() is not None

    # -- for the user ----------------------------------------------------------------------------------------------

    def of_user(self, job_id: str, user_id: str) -> Job:
        """A task of theirs. Raises NotFound."""
        job = self.get(job_id)
        if job.user != user_id or job.kind not in TASKS:
            raise NotFound("There is no such task.")
        return job

    def newest(self, kind: str, user_id: str) -> Job | None:
        """The last task of a kind that they have asked for."""
        own = select(Row).where(Row.user_id == user_id, Row.kind == kind)
        with self._db.reading() as sql:
            row = sql.scalar(own.order_by(Row.created_at.desc()).limit(1))
        return _job(row) if row else None

    def cancel(self, job_id: str, user_id: str) -> None:
        """Stop a task of theirs and forget it, with what it has made. Raises NotFound."""
        self.of_user(job_id, user_id)
        with self._db.transaction() as sql:
            sql.execute(delete(Row).where(Row.id == job_id))

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

    def counts(self) -> dict[tuple[str, str], int]:
        """How many jobs of each kind are open, and how many are dead letters: by kind, and `open` or `dead`."""
        found: dict[tuple[str, str], int] = {}
        with self._db.reading() as sql:
            for state, conditions in (("open", OPEN), ("dead", (Row.dead_at.is_not(None),))):
                rows = sql.execute(select(Row.kind, func.count()).where(*conditions).group_by(Row.kind)).all()
                found |= {(kind, state): number for kind, number in rows}
        return found

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
        row.leased_until, row.done_at, row.dead_at, row.request_id,
    )  # fmt: skip
