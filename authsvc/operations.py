"""What operators are told: `/readyz` by part, `/metrics`, and in `authsvc run` the mailbox (docs/operations.md).

The processes leave their figures in a folder; what only SQL and Redis know is asked when somebody looks.
"""

from collections.abc import Iterable
from contextlib import closing, suppress
from itertools import product
from pathlib import Path

from flask import Flask, Response, abort, jsonify, render_template, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from authsvc import health, mailbox
from authsvc.core.errors import RedisDown, StorageDown
from authsvc.core.settings import Settings
from authsvc.core.times import rfc3339
from authsvc.domain.jobs import KINDS, QUEUES
from authsvc.health import Storage

HOSTS = ("127.0.0.1", "localhost")
# A mail is shown as it came, in a frame of its own without scripts.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; base-uri 'none'"


def create_app(settings: Settings, figures: Path, mails: Path | None) -> Flask:
    """`figures`: the folder of the processes' metrics; `mails`: that of the mailbox, if it is ours."""
    app = Flask("authsvc", static_folder=None)
    allowed = {f"{host}:{settings.ops_port}" for host in HOSTS}

    @app.before_request
    def only_from_here() -> None:
        if request.host not in allowed:  # a page elsewhere whose name suddenly leads here (DNS rebinding)
            abort(403)

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    @app.get("/")
    def index() -> str:
        rules = sorted(str(rule) for rule in app.url_map.iter_rules())
        return render_template("operations.html", paths=[rule for rule in rules if rule != "/"])

    @app.get("/readyz")
    def readyz() -> tuple[Response, int]:
        with closing(Storage(settings)) as storage:
            parts = list(health.examine(storage.checks()))
        ready = all(part.ok for part in parts)
        return jsonify(ready=ready, parts=[part._asdict() for part in parts]), 200 if ready else 503

    @app.get("/metrics")
    def metrics() -> Response:
        registry = CollectorRegistry()
        forget_gauges_of_the_dead(figures)
        MultiProcessCollector(registry, str(figures))  # type: ignore[no-untyped-call]
        with closing(Storage(settings)) as storage:
            registry.register(State(storage))
            return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    if mails:
        add_mailbox(app, mails)
    return app


def add_mailbox(app: Flask, mails: Path) -> None:
    app.add_template_filter(rfc3339, "when")

    @app.get("/dev/mailbox")
    def for_people() -> str:
        return render_template("mailbox.html", mails=mailbox.read(mails))

    @app.get("/dev/mailbox.json")
    def for_programs() -> Response:
        return jsonify([shown(mail) for mail in mailbox.read(mails)])


def shown(mail: mailbox.Received) -> dict[str, str]:
    fields = ("id", "to", "subject", "text", "html")
    return {**{name: getattr(mail, name) for name in fields}, "received": rfc3339(mail.at)}


def forget_gauges_of_the_dead(figures: Path) -> None:
    """A process that was killed had passwords to hash and sockets open; it has no more."""
    for path in figures.glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            path.unlink(missing_ok=True)


class State(Collector):
    """What SQL and Redis know; left out while they do not answer."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def collect(self) -> Iterable[Metric]:
        ok = GaugeMetricFamily(
            "authsvc_part_ok", "Whether a part is well; `/readyz` says what is wrong.", labels=["part"]
        )
        for finding in health.examine(self._storage.checks()):
            ok.add_metric([finding.part], finding.ok)
        yield ok
        with suppress(StorageDown):
            yield from self._of_sql()
        with suppress(RedisDown):
            silences = self._storage.jobs.workers().values()
            alive = sum(silence <= health.SILENT for silence in silences)
            yield GaugeMetricFamily("authsvc_workers", "Workers that are alive.", alive)

    def _of_sql(self) -> Iterable[Metric]:
        storage = self._storage
        yield GaugeMetricFamily("authsvc_sessions", "Sessions that have not ended.", storage.sessions.count())
        jobs = GaugeMetricFamily("authsvc_jobs", "Jobs that are not done: `open` or `dead`.", labels=["kind", "state"])
        counts = storage.jobs.counts()
        for labels in product(KINDS, ("open", "dead")):
            jobs.add_metric(labels, counts.get(labels, 0))
        yield jobs
        help_ = "For how long the oldest job of a queue waits for its first attempt."
        waits = GaugeMetricFamily("authsvc_queue_wait_seconds", help_, labels=["queue"])
        found = storage.jobs.waiting()
        for queue in QUEUES:
            waits.add_metric([queue], found.get(queue, 0))
        yield waits
        help_ = "For how long the oldest fact waits to be delivered."
        yield GaugeMetricFamily("authsvc_facts_wait_seconds", help_, storage.outbox.waiting())
