"""Celery, set so that it loses nothing that the rows do not bring back anyway (domain/jobs.py), and soon.

A message is the id of a job. It is acknowledged when the attempt is over, and comes again when its worker is lost; the
row decides whether there is still something to do.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.exceptions import SoftTimeLimitExceeded

from authsvc.core import request_ids
from authsvc.core.errors import AuthsvcError
from authsvc.core.metrics import JOBS
from authsvc.core.settings import Settings
from authsvc.domain.jobs import KINDS, QUEUES, Hopeless, Job, TryLater
from authsvc.jobs.handlers import HANDLERS
from authsvc.services import Services

SOFT = 2  # seconds that an attempt which takes too long has for giving up by itself
VISIBILITY = 10  # seconds after the longest attempt until the message of a lost worker comes again
PREFIX = "authsvc:celery:"  # of the broker's keys
TOOK_TOO_LONG = "It took too long."

log = logging.getLogger(__name__)
Parts = Callable[[], Services]


def make(settings: Settings, parts: Parts) -> Celery:
    """The application. `parts` gives the services of the process that runs a job."""
    app = Celery("authsvc", broker=settings.celery_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_queues={name: {} for name in QUEUES},
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_time_limit=settings.job_limit,
        task_soft_time_limit=max(1, settings.job_limit - SOFT),
        worker_prefetch_multiplier=1,
        worker_concurrency=settings.worker_processes,
        worker_max_tasks_per_child=1000,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=2,
        broker_transport_options=_transport(settings),
    )
    for kind in KINDS:
        app.task(_task(parts), name=f"authsvc.{kind}", bind=True)
    return app


def _transport(settings: Settings) -> dict[str, Any]:
    return {
        "global_keyprefix": PREFIX,
        "visibility_timeout": settings.job_limit + VISIBILITY,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": 2,
        "socket_timeout": 10,  # above the time that a worker waits for a message
        "health_check_interval": 5,
    }


def _task(parts: Parts) -> Callable[[Task[Any, Any], str], None]:
    def run(self: Task[Any, Any], job_id: str) -> None:
        attempt(parts(), job_id, str(self.request.id))

    return run


def attempt(services: Services, job_id: str, message: str) -> None:
    """One attempt at a job, and what came of it."""
    job = services.jobs.begin(job_id, message)
    if job is None:
        return
    with request_ids.bound(job.request_id):
        began = time.monotonic()
        outcome = _outcome(job, services)
        seconds = time.monotonic() - began
        JOBS.labels(job.kind, outcome).observe(seconds)
        told = {"job": job.id, "kind": job.kind, "attempt": job.attempts, "ms": round(seconds * 1000)}
        log.info("job %s", outcome, extra=told)


def _outcome(job: Job, services: Services) -> str:
    """Try it, and note in the row what came of it."""
    try:
        HANDLERS[job.kind](job, services)
    except Hopeless as why:
        services.jobs.bury(job.id, str(why))
        return "hopeless"
    except SoftTimeLimitExceeded:
        services.jobs.failed(job, TOOK_TOO_LONG)
    except (AuthsvcError, TryLater) as error:
        services.jobs.failed(job, str(error))
    except Exception as error:  # whatever a handler raises, the job is tried again
        log.exception("job %s (%s) failed", job.id, job.kind)
        services.jobs.failed(job, type(error).__name__)  # its words might hold what nobody should read
    else:
        services.jobs.done(job.id)
        return "done"
    return "failed"
