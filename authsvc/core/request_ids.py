"""The id of the request on whose behalf something happens. It is in the answer (`X-Request-Id`), in every line of the
log, and in the jobs that the request has left, so that all of it can be found together."""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

HEADER = "X-Request-Id"
ACCEPTED = re.compile(r"[A-Za-z0-9._-]{8,64}")

_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def current() -> str | None:
    return _current.get()


def begin(sent: str | None = None) -> str:
    """The id of a request that begins here: the one that a trusted proxy has sent, if it is one, else a new one."""
    request_id = sent if sent and ACCEPTED.fullmatch(sent) else f"{random.getrandbits(128):032x}"
    _current.set(request_id)
    return request_id


@contextmanager
def bound(request_id: str | None) -> Iterator[None]:
    """What happens inside belongs to a request that was made earlier."""
    token = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(token)
