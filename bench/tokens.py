"""S3: what the calls about tokens cost: answers per second of the processor time of the web process, so that neither
the load client nor the databases count. AUTHSVC_BENCH_DATABASE_URL names an empty PostgreSQL database; without it
SQLite is measured."""

import base64
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import NamedTuple
from urllib.parse import urlencode

from sqlalchemy import text

from authsvc.core.settings import Settings
from authsvc.db import Database
from authsvc.domain.codes import Request
from authsvc.domain.grants import Granted
from authsvc.domain.sessions import Origin
from authsvc.domain.tokens import SESSION_CLIENT
from authsvc.services import Services, build
from bench import load
from bench.checks import login
from bench.stack import EMAIL, cpu_seconds, stack

DATABASE = os.environ.get("AUTHSVC_BENCH_DATABASE_URL", "")
ROUNDS, SECONDS, CONNECTIONS = 5, 4.0, 16
GENERATIONS = 1000  # of refresh tokens that are prepared for each connection and round
BACK = "https://app.example/back"
FORM, JSON = {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": "application/json"}


class Call(NamedTuple):
    what: str
    requests: Callable[[], list[bytes]]  # of a round


def rows() -> Iterator[tuple[str, str]]:
    with stack(DATABASE) as built, built.process("web", ready="/healthz") as (port, process):
        os.environ.update({name: each for name, each in built.environment.items() if name.startswith("AUTHSVC_")})
        with closing(build(Settings.read())) as services:
            yield "S3 database", database(services.db)
            for call in calls(services, {"Cookie": login(port, "/api/login")}):
                yield call.what, measured(call, port, process.pid)


def database(db: Database) -> str:
    if db.engine.dialect.name == "sqlite":
        return "SQLite, synchronous=FULL"
    with db.reading() as sql:
        shown = [sql.scalar(text(f"SHOW {name}")) for name in ("server_version", "fsync", "synchronous_commit")]
    return "PostgreSQL {}, fsync {}, synchronous_commit {}".format(*shown)


def measured(call: Call, port: int, pid: int) -> str:
    each = []
    for _ in range(ROUNDS):
        requests, before = call.requests(), cpu_seconds(pid)
        result = load.run(port, requests, connections=CONNECTIONS, seconds=SECONDS)
        if set(result.statuses) != {200}:
            raise RuntimeError(f"the answers were {result.statuses}")
        each.append((len(result.latencies) / (cpu_seconds(pid) - before), result.rate, result.quantile(0.99) * 1000))
    rate, by_the_clock, tail = (statistics.median(column) for column in zip(*each, strict=True))
    return f"{rate:,.0f} ({by_the_clock:,.0f} by the clock, p99 {tail:.1f} ms)"


def calls(services: Services, cookie: dict[str, str]) -> Iterator[Call]:
    service, secret = services.clients.create("bench", service=True)
    app, app_secret = services.clients.create("bench", redirect_uris=(BACK,))
    own = grant(services, app.id).session
    token = services.tokens.of_session(own, client_id=SESSION_CLIENT, scope="", audience=services.settings.public_url)
    _, key = services.api_keys.create(own.user, "bench")
    as_service, as_app = basic(service.id, secret), basic(app.id, app_secret)
    for what, request in {
        "introspection of a session's token (goal 3,000)": post("/oauth/introspect", as_service, token=token),
        "introspection of an API key": post("/oauth/introspect", as_service, token=key),
        "/forward-auth with a session's token": load.request("GET", "/forward-auth", headers=bearer(token)),
        "/forward-auth with its cookie": load.request("GET", "/forward-auth", headers=cookie),
        "POST /api/token": load.request("POST", "/api/token", headers={**JSON, **cookie}, body=b"{}"),
        "POST /oauth/token, client credentials": post("/oauth/token", as_service, grant_type="client_credentials"),
    }.items():
        yield Call(f"S3 {what}", partial(list, (request,)))
    yield Call("S3 POST /oauth/token, refresh (goal 600)", lambda: refreshes(services, app.id, as_app))


def refreshes(services: Services, client_id: str, headers: dict[str, str]) -> list[bytes]:
    """For each connection the refresh tokens of a grant of its own, one after the other."""
    granted = [grant(services, client_id) for _ in range(CONNECTIONS)]
    return [
        post("/oauth/token", headers, grant_type="refresh_token", refresh_token=services.grants._write(each.id, number))
        for number in range(GENERATIONS)
        for each in granted
    ]


def grant(services: Services, client_id: str) -> Granted:
    """What a user has let the client have, in a session of its own."""
    credentials = services.accounts.known(EMAIL).account
    if credentials is None:
        raise RuntimeError("there is no user")
    origin = Origin("127.0.0.1", "bench")
    own, _ = services.sessions.create(credentials.user_id, 0, amr=("pwd",), remember=False, origin=origin)
    request = Request(client_id, BACK, ("openid", "offline_access"), services.settings.public_url, "c" * 43, None)
    code = services.codes.find(services.codes.issue(own, request))
    if code is None:
        raise RuntimeError("the code is gone")
    return services.grants.redeem(code, refreshing=True)


def post(path: str, headers: dict[str, str], **fields: str) -> bytes:
    return load.request("POST", path, headers={**FORM, **headers}, body=urlencode(fields).encode())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(client_id: str, secret: str | None) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{client_id}:{secret}'.encode()).decode()}"}
