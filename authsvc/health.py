"""The parts that a running service stands on, each looked at by itself: what is wrong, and how to mend it."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from authsvc import migrations
from authsvc.core.cluster import SyncCluster, SyncDoor, sync_door
from authsvc.core.errors import RedisDown, StorageDown
from authsvc.core.redis import UNKNOWN_RUN, SyncRedis
from authsvc.core.settings import Settings
from authsvc.core.store import SKEW, Store
from authsvc.db import Database
from authsvc.domain.jobs import Jobs
from authsvc.domain.outbox import Outbox, unsigned
from authsvc.domain.sessions import Sessions

LATE = 10  # seconds that a fact may wait for its delivery
SILENT = 15  # seconds without a sign of life after which a worker counts as gone
STUCK = 60  # seconds that a job may wait for its first attempt while a worker is alive
PROBE = "authsvc:doctor"
CLUSTER_STATE, ALL_SLOTS = ("CLUSTER", "INFO"), b"cluster_slots_ok:16384"


class Finding(NamedTuple):
    part: str
    ok: bool
    detail: str


class Wrong(Exception):
    """What is wrong with a part, and how to mend it."""


def examine(checks: Mapping[str, Callable[[], str]]) -> Iterator[Finding]:
    """One finding for each part. A check says in words what it has found, or raises Wrong or StorageDown."""
    for part, check in checks.items():
        try:
            yield Finding(part, ok=True, detail=check())
        except Wrong as wrong:
            yield Finding(part, ok=False, detail=str(wrong))
        except StorageDown:
            yield Finding(part, ok=False, detail="Not to be known while the database does not answer.")


class Storage:
    """What every process of a service shares, to be looked at from outside."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.db = Database(settings.sql_url)
        self.redis = sync_door(settings.hot_url)
        store = Store(self.redis)
        self.outbox = Outbox(self.db, store, unsigned)
        self.jobs = Jobs(self.db, store, settings)
        self.sessions = Sessions(self.db, store, self.outbox, self.jobs, settings)

    def checks(self) -> dict[str, Callable[[], str]]:
        return {
            "database": lambda: database(self.db),
            "clock": lambda: clock(self.db),
            "redis": lambda: hot(self.redis),
            "broker": lambda: broker(self._settings),
            "worker": lambda: worker(self.outbox, self.jobs),
        }

    def close(self) -> None:
        self.redis.close()
        self.db.close()


def database(db: Database) -> str:
    kind, mend = "PostgreSQL", "Start it, or set AUTHSVC_DATABASE_URL."
    if db.engine.dialect.name == "sqlite":
        kind, mend = "SQLite", "Make it with: authsvc migrate"
    try:
        behind = migrations.pending(db)
    except StorageDown as error:
        raise Wrong(f"{kind} does not answer ({_reason(error)}). {mend}") from None
    if behind:
        raise Wrong(f"{kind} answers, but its schema is not the newest. Mend it with: authsvc migrate")
    return f"{kind}, with the newest schema"


def clock(db: Database) -> str:
    skew = db.time() - time.time()
    if abs(skew) > SKEW:
        raise Wrong(f"The database's clock is {skew:+.1f} s from this machine's. Let NTP set both.")
    return "agrees with the database's"


def hot(redis: SyncDoor) -> str:
    """A master, writable, whose INFO may be read."""
    try:
        run = redis.execute(("PING",)).run
        redis.execute(("SET", PROBE, "1", "PX", 1000))
    except RedisDown as error:
        raise Wrong(
            f"Redis is not usable ({error.__cause__}). The service works on from SQL, and ends take up to 70 s. "
            "Start it, or set AUTHSVC_REDIS_URL."
        ) from None
    if isinstance(redis, SyncCluster) and ALL_SLOTS not in redis.execute(CLUSTER_STATE).values[0]:
        raise Wrong("The Redis Cluster has slots without a server. What belongs there goes on from SQL. Start it.")
    if run == UNKNOWN_RUN:
        raise Wrong("Redis forbids INFO, so a restored or failed-over server is not noticed at once. Allow INFO.")
    return "answers, is a master, and takes writes"


def broker(settings: Settings) -> str:
    url = settings.broker_url.get_secret_value()
    if not url:
        return "is the same Redis"
    redis = SyncRedis(url)
    try:
        redis.execute(("PING",))
    except RedisDown as error:
        raise Wrong(
            f"The broker does not answer ({error.__cause__}). Mails and other jobs wait in the database until it does. "
            "Start it, or set AUTHSVC_BROKER_URL."
        ) from None
    finally:
        redis.close()
    return "answers"


def worker(outbox: Outbox, jobs: Jobs) -> str:
    """That one is alive, and does its work: Celery has been seen to live on and take no more jobs."""
    late, waits = outbox.waiting(), jobs.waiting()
    queue, longest = max(waits.items(), key=lambda each: each[1], default=("", 0))
    try:
        silence = min(jobs.workers().values(), default=None)
    except RedisDown:
        raise Wrong("Not to be known while Redis does not answer.") from None
    if silence is None or silence > SILENT:
        heard = "was ever heard of" if silence is None else f"was heard of for {silence} s"
        raise Wrong(f"No worker {heard}: no mail is sent, and nothing is cleaned up. Start `authsvc worker`.")
    if longest > STUCK:
        raise Wrong(
            f"A worker is alive and has stopped consuming: a job of the queue `{queue}` has waited {longest} s for its "
            "first attempt. Restart `authsvc worker`; if it is only slow, start more of them."
        )
    if late > LATE:
        raise Wrong(f"A worker is alive, but a fact has waited {late} s for its delivery. See to Redis.")
    return "is alive; no job and no fact waits"


def _reason(error: StorageDown) -> str:
    """The driver's own words, without the statement."""
    words = str(getattr(error.__cause__, "orig", error.__cause__)).strip()
    return words.partition("\n")[0]
