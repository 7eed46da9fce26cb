"""`authsvc worker` that is killed at a point of a job's way, once: python -m tests.jobs.dying POINT WHOM MARK

WHOM is `process` (the one that has come to the point) or `worker` (all of them). MARK is a file that says that it has
happened. Leases and pauses are shortened, so that a test need not wait for them.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Task

from authsvc.core.settings import Settings
from authsvc.domain import jobs
from authsvc.domain.jobs import MAIL, Jobs, Kind
from authsvc.jobs import celery, mail
from authsvc.jobs.worker import work

POINTS: dict[str, tuple[Any, str]] = {
    "claimed": (Jobs, "claim"),
    "handed on": (Task, "apply_async"),
    "begun": (Jobs, "begin"),
    "sent": (mail, "send"),
    "marked": (Jobs, "done"),
}


def kill(whom: str) -> None:
    if whom == "worker":
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def dying_after(function: Callable[..., Any], whom: str, mark: Path) -> Callable[..., Any]:
    def once(*given: Any, **named: Any) -> Any:
        result = function(*given, **named)
        if result != []:  # claims that have found nothing
            try:
                mark.touch(exist_ok=False)
            except FileExistsError:
                return result
            kill(whom)
        return result

    return once


def main(point: str, whom: str, mark: str) -> int:
    jobs.SLACK = celery.VISIBILITY = 1
    jobs.KINDS[MAIL] = Kind("mail", 32, 1)
    jobs.EVERY.clear()  # the mail is the only job
    owner, name = POINTS[point]
    setattr(owner, name, dying_after(getattr(owner, name), whom, Path(mark)))
    return work(Settings.read().for_service())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
