"""The relay: it carries facts to Redis that whoever wrote them could not deliver (docs/sessions.md)."""

import logging
import time
from typing import NoReturn

from authsvc.core.errors import StorageDown
from authsvc.domain.outbox import Outbox

SWEEP = 1.0  # seconds between two looks
LATE = 5  # seconds that a fact may wait before we say so; its writer is about to deliver a younger one

log = logging.getLogger(__name__)


def relay_for_ever(outbox: Outbox) -> NoReturn:
    """May be killed at any point: what it has not marked as delivered is delivered again."""
    log.info("The relay runs.")
    trouble = ""
    while True:
        before, trouble = trouble, sweep(outbox)
        if trouble != before:
            log.warning("%s", trouble or "Facts are delivered again.")
        time.sleep(SWEEP)


def sweep(outbox: Outbox) -> str:
    """Deliver all that waits. Returns what is in the way, in words; nothing if nothing is."""
    try:
        while outbox.relay():
            pass
        late = outbox.waiting() > LATE
    except StorageDown as error:
        return error.detail
    return "Redis cannot be reached; facts wait in the database until it can." if late else ""
