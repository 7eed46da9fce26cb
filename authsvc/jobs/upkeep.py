"""The periodic clean-up (domain/upkeep.py)."""

import time

from authsvc.domain.jobs import Job
from authsvc.services import Services


def clean_up(_job: Job, services: Services) -> None:
    """As much as half the time of an attempt allows; the next run does the rest."""
    services.upkeep.clean_up(time.time() + services.settings.job_limit / 2)
