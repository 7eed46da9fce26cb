"""The export of an account's data (domain/exports.py)."""

from authsvc.domain.jobs import Job
from authsvc.services import Services


def make(job: Job, services: Services) -> None:
    services.exports.make(job)
