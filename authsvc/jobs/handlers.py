"""What is done for each kind of job: a call that may come twice for the same job."""

from collections.abc import Callable

from authsvc.domain import jobs
from authsvc.domain.jobs import Job
from authsvc.jobs import export, logout, mail, upkeep
from authsvc.services import Services

HANDLERS: dict[str, Callable[[Job, Services], None]] = {
    jobs.MAIL: mail.deliver,
    jobs.EXPORT: export.make,
    jobs.CLEANUP: upkeep.clean_up,
    jobs.LOGOUT: logout.deliver,
}
