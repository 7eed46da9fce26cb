"""Everything that we hold about an account, for its owner: a zip of JSON files (GDPR, articles 15 and 20)."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Select, insert, select

from authsvc.core import events
from authsvc.core.errors import NotFound
from authsvc.core.events import Fact
from authsvc.core.settings import DAY
from authsvc.core.store import Clock
from authsvc.core.times import rfc3339
from authsvc.db import Database
from authsvc.domain import jobs
from authsvc.domain.jobs import EXPORT, Job, Jobs
from authsvc.domain.outbox import Outbox
from authsvc.models import ApiKey, Event, Result, Session, User, table
from authsvc.models import Job as JobRow

KEPT = DAY  # seconds for which an export can be fetched
FILENAME = "account.zip"

# Never the hash of a password, of a session's token or of an API key: they are no use to their owner, and some to a
# thief.
PARTS: dict[str, Callable[[str], Select[Any]]] = {
    "account": lambda user: select(
        User.id, User.email, User.name, User.roles, User.locale, User.created_at, User.disabled_at, User.logged_in_at,
        User.email_refused_at, User.delete_at,
    ).where(User.id == user),
    "sessions": lambda user: select(
        Session.sid, Session.created_at, Session.seen_at, Session.authenticated_at, Session.amr, Session.remember,
        Session.ip, Session.device, Session.data, Session.ended_at,
    ).where(Session.user_id == user).order_by(Session.created_at),
    "api_keys": lambda user: select(
        ApiKey.id, ApiKey.name, ApiKey.scopes, ApiKey.created_at, ApiKey.expires_at, ApiKey.used_at, ApiKey.revoked_at,
    ).where(ApiKey.user_id == user).order_by(ApiKey.created_at),
    "events": lambda user: select(Event.at, Event.name, Event.sid, Event.ip, Event.data)
    .where(Event.user_id == user).order_by(Event.id),
    "mails": lambda user: select(JobRow.created_at, JobRow.data, JobRow.done_at, JobRow.dead_at)
    .where(JobRow.user_id == user, JobRow.kind == jobs.MAIL).order_by(JobRow.created_at),
}  # fmt: skip


class Exports:
    def __init__(self, db: Database, jobs_: Jobs, outbox: Outbox, clock: Clock) -> None:
        self._db = db
        self._jobs = jobs_
        self._outbox = outbox
        self._clock = clock

    def ask(self, user_id: str) -> str:
        """Have an export made; returns the id of the task, of the one that is under way if there is one."""
        now = self._clock()
        with self._db.transaction() as sql:
            sql.execute(select(User.id).where(User.id == user_id).with_for_update())
            own = (JobRow.user_id == user_id, JobRow.kind == EXPORT)
            task = sql.scalar(select(JobRow.id).where(*own, *jobs.OPEN).limit(1)) or jobs.add(
                sql, EXPORT, now, user=user_id
            )
        self._jobs.wake()
        return task

    def make(self, job: Job) -> None:
        """Gather the parts and store the file; stops when somebody has cancelled it meanwhile."""
        user_id = job.user or ""
        parts: dict[str, list[dict[str, Any]]] = {}
        for number, (name, query) in enumerate(PARTS.items()):
            if not self._progressed(job, 100 * number // len(PARTS)):
                return
            with self._db.reading() as sql:
                parts[name] = [dict(row) for row in sql.execute(query(user_id)).mappings()]
        self._store(job, zipped(parts))

    def _store(self, job: Job, body: bytes) -> None:
        """In one transaction with the end of the job: a file without a task would be found by nobody."""
        now = int(self._clock())
        row = {"job_id": job.id, "filename": FILENAME, "body": body, "expires_at": now + KEPT}
        with self._db.transaction() as sql:
            if jobs.finish(sql, job.id, now):
                sql.execute(insert(table(Result)), row)
        self._tell(job, "done", 100)

    def result(self, task: str, user_id: str) -> tuple[str, bytes]:
        """Name and content of the file of a finished task. Raises NotFound."""
        own = (JobRow.id == task, JobRow.user_id == user_id, Result.expires_at > int(self._clock()))
        with self._db.reading() as sql:
            found = sql.execute(select(Result.filename, Result.body).join(JobRow).where(*own)).one_or_none()
        if found is None:
            raise NotFound("There is no such file, or it has expired.")
        return found.filename, found.body

    def _progressed(self, job: Job, percent: int) -> bool:
        going = self._jobs.progressed(job.id, percent)
        if going:
            self._tell(job, "running", percent)
        return going

    def _tell(self, job: Job, state: str, percent: int) -> None:
        data = {"task": job.id, "state": state, "progress": percent}
        self._outbox.tell(Fact(events.TASK_CHANGED, job.user, int(self._clock()), data=data))


def zipped(parts: dict[str, list[dict[str, Any]]]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in parts.items():
            content = [dict(_readable(row)) for row in rows]
            archive.writestr(f"{name}.json", json.dumps(content, ensure_ascii=False, indent=2))
    return packed.getvalue()


def _readable(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Times as RFC 3339."""
    for name, value in row.items():
        is_time = isinstance(value, int) and (name == "at" or name.endswith("_at"))
        yield name, rfc3339(value) if is_time else value
