"""`authsvc worker`: Celery with its processes, and the relay beside it."""

import logging
import os
import signal
import socket
import warnings
from typing import Any

from billiard import current_process, pool
from celery import signals
from celery.platforms import SecurityWarning

from authsvc.core import metrics
from authsvc.core.settings import Settings
from authsvc.domain.jobs import QUEUES
from authsvc.jobs import celery
from authsvc.jobs.outbox import Relay
from authsvc.services import Services, build

GOODBYE = 1  # seconds that a process waits for its last result to be read; a stopping parent may never do it

log = logging.getLogger(__name__)


def say_so(**_: Any) -> None:
    log.info("The worker takes jobs.")


def work(settings: Settings) -> int:
    """Until SIGTERM or SIGINT: running jobs are waited for, what waits is left to others. Returns the exit code."""
    own: list[Services] = []  # of this process: each child of Celery's pool makes its own, for none survives a fork

    def begin() -> None:
        own[:] = [build(settings)]

    def begin_child(**_: Any) -> None:
        metrics.take_place(f"worker-{current_process().index}")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # service managers send it to all; the parent lets us end our job
        begin()

    def end(**_: Any) -> None:
        own.pop().close()

    signals.worker_process_init.connect(begin_child, weak=False)
    signals.worker_process_shutdown.connect(end, weak=False)
    signals.worker_ready.connect(say_so, weak=False)
    app = celery.make(settings, lambda: own[0])
    begin()
    name = f"{socket.gethostname()}:{os.getpid()}"
    relay = Relay(own[0], app, name)
    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = GOODBYE * 10  # it counts tenths, and 30 s of them by default
    warnings.simplefilter("ignore", SecurityWarning)  # about root and pickle; we read nothing but JSON
    worker = app.Worker(
        hostname=f"authsvc@{name}", queues=list(QUEUES), without_mingle=True, without_gossip=True, quiet=True
    )
    relay.start()
    try:
        worker.start()
    finally:
        relay.stop()
        end()
    return int(worker.exitcode or 0)
