"""The application for Celery's own tools, such as `celery --app authsvc.jobs.app inspect active`, or Flower
(docs/operations.md). Nothing is worked on here."""

from typing import NoReturn

from authsvc.core.settings import Settings
from authsvc.jobs import celery


def _nowhere() -> NoReturn:
    raise RuntimeError("Jobs are done by `authsvc worker`.")


app = celery.make(Settings.read().for_storage(), _nowhere)
