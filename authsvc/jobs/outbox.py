"""The relay, a thread of the worker: it carries facts to Redis that whoever wrote them could not deliver
(docs/sessions.md), and hands jobs that are due to Celery. Many may run; each may be killed at any point."""

import logging
import os
import threading
import time
from contextlib import closing, suppress
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError

from authsvc.core.cluster import SyncDoor
from authsvc.core.errors import RedisDown, StorageDown
from authsvc.domain.jobs import BATCH, KINDS, QUEUES, WAKE, Jobs
from authsvc.domain.outbox import Outbox
from authsvc.services import Services

SWEEP = 1.0  # seconds between two looks when nobody wakes it
LATE = 5  # seconds that a fact may wait before we say so; its writer is about to deliver a younger one
ENOUGH = 10 * BATCH  # messages in a queue; what is over that waits in SQL, where nothing is lost

TIMEOUT = 2.0  # seconds, for a connection and an answer of the bell's Redis
BROKER_ERRORS = (OperationalError, RedisError, OSError)

log = logging.getLogger(__name__)


class Relay:
    """`work` is held while it works: a process that forks waits for it, so that no child is born with a lock of SQLite
    or of a connection pool taken for ever."""

    def __init__(self, services: Services, app: Celery, name: str) -> None:
        self._services = services
        self._app = app
        self._name = name
        self._trouble = ""
        self._stopping = threading.Event()
        self._working = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def start(self) -> None:
        held = self._working
        os.register_at_fork(before=held.acquire, after_in_parent=held.release, after_in_child=held.release)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._services.jobs.wake()
        self._thread.join()
        with suppress(RedisDown):
            self._services.jobs.signed_off(self._name)

    def _run(self) -> None:
        with closing(Bell(self._services.store.redis)) as bell:
            while not self._stopping.is_set():
                with self._working:
                    before, self._trouble = self._trouble, self.sweep()
                if self._trouble != before:
                    log.warning("%s", self._trouble or "The relay delivers again.")
                bell.wait(SWEEP)

    def sweep(self) -> str:
        """Deliver and hand on all that waits. Returns what is in the way, in words; nothing if nothing is."""
        try:
            late = deliver(self._services.outbox)
            self._services.jobs.schedule()
            hand_on(self._services.jobs, self._app)
            self._services.jobs.alive(self._name)
        except StorageDown as error:
            return error.detail
        except BROKER_ERRORS:
            return "The broker cannot be reached; jobs wait in the database until it can."
        except RedisDown:
            late = True
        return "Redis cannot be reached; facts wait in the database until it can." if late else ""


def deliver(outbox: Outbox) -> bool:
    """Deliver the facts that wait. True if one has waited too long."""
    while outbox.relay():
        pass
    return outbox.waiting() > LATE


def hand_on(jobs: Jobs, app: Celery) -> None:
    """Send the jobs that are due to their queues, as long as those are not full."""
    while waiting_messages(app) < ENOUGH and (claimed := jobs.claim()):
        for number, (job_id, kind) in enumerate(claimed):
            try:
                app.tasks[f"authsvc.{kind}"].apply_async((job_id,), queue=KINDS[kind].queue, retry=False)
            except BROKER_ERRORS:
                jobs.give_back([each for each, _ in claimed[number:]])
                raise


def waiting_messages(app: Celery) -> int:
    """How many messages lie in the fullest queue."""
    return max(depths(app).values())


def depths(app: Celery) -> dict[str, int]:
    """How many messages lie in each queue."""
    with app.pool.acquire(block=True) as connection:
        channel = connection.default_channel
        return {queue: channel._size(queue) for queue in QUEUES}  # noqa: SLF001 - a passive declare raises when it is 0


class Bell:
    """Hears when somebody wakes the relay (Jobs.wake)."""

    def __init__(self, redis: SyncDoor) -> None:
        self._redis = redis
        self._client: Any = None
        self._pubsub: Any = None

    def wait(self, seconds: float) -> None:
        """Until it rings, or for so many seconds."""
        try:
            if self._client is None:
                self._client = self._redis.client(WAKE, TIMEOUT)
                self._pubsub = self._client.pubsub()
                self._pubsub.subscribe(WAKE)
            if self._pubsub.get_message(timeout=seconds):
                while self._pubsub.get_message():  # those that rang meanwhile are heard as one
                    pass
        except (RedisDown, RedisError, OSError):
            self.close()
            time.sleep(seconds)

    def close(self) -> None:
        if self._client is not None:
            if self._pubsub is not None:
                self._pubsub.close()
            self._client.close()
        self._client = self._pubsub = None
