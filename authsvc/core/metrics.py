"""What is counted (docs/operations.md). Each process counts for itself; where several serve one operations port, they
do so in files of one folder, which the environment names before this is imported (authsvc/operations.py).

A label has few values, and none that a stranger can choose.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

from authsvc.core.errors import AuthsvcError

_place = ""


def take_place(name: str) -> None:
    """Go on counting in the files of the process that had this place before: those of a pool come and go, and their
    files would be more and more. `name` holds no underscore."""
    global _place  # noqa: PLW0603 - it is the process that has a place
    _place = name


if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    values.ValueClass = values.MultiProcessValue(lambda: _place or os.getpid())  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()

REQUESTS = Histogram(
    "authsvc_http_request_seconds", "Answers of the web, by the pattern of their path.", ("method", "route", "status"),
    buckets=(0.0025, 0.01, 0.025, 0.1, 0.25, 1, 5), registry=REGISTRY,
)  # fmt: skip
LOGINS = Counter(
    "authsvc_logins_total", "Logins with a password: `ok`, or the code of the refusal.", ("outcome",),
    registry=REGISTRY,
)  # fmt: skip
HASHES = Histogram(
    "authsvc_hash_seconds", "Passwords hashed, without the time that they waited.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 1), registry=REGISTRY,
)  # fmt: skip
HASHES_PENDING = Gauge(
    "authsvc_hashes_pending", "Passwords that are being hashed, or wait for it.", multiprocess_mode="livesum",
    registry=REGISTRY,
)  # fmt: skip
HASHES_REFUSED = Counter("authsvc_hashes_refused_total", "Passwords refused, for too many waited.", registry=REGISTRY)
FACTS = Counter(
    "authsvc_facts_delivered_total", "Facts that live parts were told, by their writer or later by the relay.",
    ("name", "by"), registry=REGISTRY,
)  # fmt: skip
CONNECTIONS = Gauge(
    "authsvc_connections", "Open sockets and streams.", ("kind",), multiprocess_mode="livesum", registry=REGISTRY
)
JOBS = Histogram(
    "authsvc_job_seconds", "Attempts at jobs: `done`, `failed` (the next may not), or `hopeless`.",
    ("kind", "outcome"), buckets=(0.1, 0.5, 1, 5, 15, 60), registry=REGISTRY,
)  # fmt: skip
MAILS = Counter(
    "authsvc_mails_total", "Attempts at mails: `sent`, `unwanted` by then, `failed` for now, or `refused`.",
    ("template", "outcome"), registry=REGISTRY,
)  # fmt: skip


@contextmanager
def counted_login() -> Iterator[None]:
    """Count a login by what comes of it."""
    try:
        yield
    except AuthsvcError as error:
        LOGINS.labels(error.code).inc()
        raise
    LOGINS.labels("ok").inc()
