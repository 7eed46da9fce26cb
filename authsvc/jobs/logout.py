"""Back-channel logouts by HTTP: a client is told until it says that it has understood, or its tries are over."""

import httpx

from authsvc.domain.jobs import Job, TryLater
from authsvc.services import Services

TIMEOUT = 5.0  # seconds, for the connection and for each part of the answer


def deliver(job: Job, services: Services) -> None:
    """Raises TryLater."""
    notice = services.logouts.notice(job)
    if notice is None:
        return
    try:
        with httpx.stream("POST", notice.uri, data={"logout_token": notice.token}, timeout=TIMEOUT) as answer:
            status = answer.status_code  # its body is nothing to us
    except httpx.HTTPError as error:
        raise TryLater(f"The client cannot be reached ({type(error).__name__}).") from None
    if status not in (200, 204):
        raise TryLater(f"The client answered {status}.")
