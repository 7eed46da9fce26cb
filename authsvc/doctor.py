"""`authsvc doctor`: what is wrong with an installation, and how to mend it."""

import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import httpx

from authsvc import migrations, runner
from authsvc.core.errors import Misconfigured, RedisDown, StorageDown
from authsvc.core.redis import UNKNOWN_RUN, SyncRedis
from authsvc.core.settings import MAKE_A_SECRET, SECRET_FILE, Settings
from authsvc.core.store import Store
from authsvc.db import Database
from authsvc.domain.outbox import Outbox

SKEW = 1.0  # seconds; the session protocol counts on clocks that agree better than this
LATE = 10  # seconds that a fact may wait for the worker
PROBE = "authsvc:doctor"


class Finding(NamedTuple):
    part: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """One finding for each part. Without usable settings there is nothing else to look at."""
    try:
        settings = Settings.read(**runner.only_in_run(Settings.read()))
    except Misconfigured as error:
        return [Finding("settings", ok=False, detail=error.detail)]
    db, redis = Database(settings.sql_url), SyncRedis(settings.hot_url)
    try:
        return list(_findings(settings, db, redis))
    finally:
        redis.close()
        db.close()


def _findings(settings: Settings, db: Database, redis: SyncRedis) -> Iterator[Finding]:
    checks: dict[str, Callable[[], str]] = {
        "settings": lambda: secrets(settings),
        "instance": lambda: folder(settings),
        "database": lambda: database(db),
        "clock": lambda: clock(db),
        "redis": lambda: hot(redis),
        "address": lambda: address(settings.public_url),
        "worker": lambda: worker(Outbox(db, Store(redis))),
    }
    for part, check in checks.items():
        try:
            yield Finding(part, ok=True, detail=check())
        except Wrong as wrong:
            yield Finding(part, ok=False, detail=str(wrong))
        except StorageDown:
            yield Finding(part, ok=False, detail="Not to be known while the database does not answer.")


class Wrong(Exception):
    """What is wrong with a part, and how to mend it."""


def secrets(settings: Settings) -> str:
    if not settings.secret_keys:
        raise Wrong(f"There is no secret. Start `authsvc run` once, or set AUTHSVC_SECRET_KEYS. {MAKE_A_SECRET}")
    kept = settings.instance / SECRET_FILE
    if kept.exists() and kept.stat().st_mode & 0o077:
        raise Wrong(f"Others can read the secret. Mend it with: chmod 600 {kept}")
    return f"{len(settings.secret_keys)} secret(s)"


def folder(settings: Settings) -> str:
    path = settings.instance.absolute()
    if settings.database_url and settings.redis_url and not path.exists():
        return "none is needed: the settings name a database and a Redis server"
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise Wrong(f"{path} is not a folder that this user can write to. Make it one, or set AUTHSVC_INSTANCE.")
    return str(path)


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


def hot(redis: SyncRedis) -> str:
    """A master, writable, whose INFO may be read."""
    try:
        run = redis.execute(("PING",)).run
        redis.execute(("SET", PROBE, "1", "PX", 1000))
    except RedisDown as error:
        raise Wrong(
            f"Redis is not usable ({error.__cause__}). The service works on from SQL, and ends take up to 70 s. "
            "Start it, or set AUTHSVC_REDIS_URL."
        ) from None
    if run == UNKNOWN_RUN:
        raise Wrong("Redis forbids INFO, so a restored or failed-over server is not noticed at once. Allow INFO.")
    return "answers, is a master, and takes writes"


def address(url: str) -> str:
    """The way that users take, with every proxy on it."""
    hint = "Start the service, or correct AUTHSVC_PUBLIC_URL."
    try:
        answer = httpx.get(f"{url}/healthz", timeout=3, trust_env=False)
    except httpx.HTTPError as error:
        raise Wrong(f"{url} does not answer ({error}). {hint}") from None
    if answer.status_code != httpx.codes.OK or "alive" not in answer.text:
        raise Wrong(f"{url}/healthz answers {answer.status_code}, and not as authsvc does. {hint}")
    return f"{url} answers"


def worker(outbox: Outbox) -> str:
    waiting = outbox.waiting()
    if waiting > LATE:
        raise Wrong(f"A fact has waited {waiting} s for its delivery. Start `authsvc worker`, and see to Redis.")
    return "no fact waits"


def _reason(error: StorageDown) -> str:
    """The driver's own words, without the statement."""
    words = str(getattr(error.__cause__, "orig", error.__cause__)).strip()
    return words.partition("\n")[0]
