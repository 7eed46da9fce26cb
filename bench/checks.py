"""S1: forward-auth beside a bare callable that asks Redis once, and `GET /api/session` beside stock Flask with
Flask-Session; on the same server with the same threads."""

import http.client
import json
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from bench import load, peers
from bench.stack import EMAIL, PASSWORD, free_port, running, stack, wait_until_up

ROUNDS, SECONDS, CONNECTIONS, THREADS = 5, 2.0, 16, 32


class Check(NamedTuple):
    port: int
    request: bytes


class Result(NamedTuple):
    rate: float  # requests/s
    tail: float  # seconds, p99

    def __str__(self) -> str:
        return f"{self.rate:,.0f} (p99 {self.tail * 1000:.1f} ms)"


def rows() -> Iterator[tuple[str, str]]:
    missing = peers.install()
    with (
        stack() as built,
        ExitStack() as apart,
        built.process("web", ready="/healthz", AUTHSVC_WEB_THREADS=str(THREADS)) as (port, _),
        _granian("bench.stock:app", STOCK_REDIS_URL=built.redis_url) as stock_port,
        _granian("bench.bare:app", BARE_REDIS_URL=built.redis_url) as bare_port,
    ):
        ours = {"Cookie": login(port, "/api/login")}
        others = dict(_peers(built.redis_url, missing, apart))
        results = _compare({
            "gate": Check(port, load.request("GET", "/forward-auth", headers=ours)),
            "bare": Check(bare_port, load.request("GET", "/", headers=ours)),
            "session": Check(port, load.request("GET", "/api/session", headers=ours)),
            "stock": Check(stock_port, load.request("GET", "/whoami", headers={"Cookie": login(stock_port, "/login")})),
            **others,
        })  # fmt: skip
    yield "S1 /forward-auth, requests/s", str(results["gate"])
    yield "S1 bare callable with one Redis GET, requests/s", str(results["bare"])
    yield "S1 ratio (goal 0.85)", f"{results['gate'].rate / results['bare'].rate:.2f}"
    yield "S1 GET /api/session, requests/s", str(results["session"])
    yield "S1 stock Flask + Flask-Session, requests/s", str(results["stock"])
    yield "S1 ratio (goal 1.5)", f"{results['session'].rate / results['stock'].rate:.2f}"
    for peer in peers.PEERS:
        if peer.name in missing:
            yield f"S1 {peer.name}", f"not measured: {missing[peer.name]}"
            continue
        ours_is = "/forward-auth" if peer.name == "express-session" else "GET /api/session"
        rate = results["gate" if peer.name == "express-session" else "session"].rate
        yield f"S1 {peer.name}, requests/s", str(results[peer.name])
        yield f"S1 {ours_is} against it (goal 2)", f"{rate / results[peer.name].rate:.2f}"


def _peers(redis_url: str, missing: dict[str, str], apart: ExitStack) -> Iterator[tuple[str, Check]]:
    """Those that can be started; the others are noted in `missing`."""
    for peer in peers.PEERS:
        if peer.name in missing:
            continue
        try:
            port, cookie = apart.enter_context(peers.started(peer, redis_url, THREADS))
        except (OSError, RuntimeError) as error:
            missing[peer.name] = f"it did not start ({error})"
            continue
        yield peer.name, Check(port, load.request("GET", peer.check, headers={"Cookie": cookie}))


@contextmanager
def _granian(target: str, **environment: str) -> Iterator[int]:
    port = free_port()
    command = [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(port), "--no-access-log",
        "--blocking-threads", str(THREADS), "--log-level", "warning", target,
    ]  # fmt: skip
    with running(command, {**os.environ, **environment}):
        wait_until_up(port, "/healthz")
        yield port


def _compare(checks: dict[str, Check]) -> dict[str, Result]:
    """By turns, so that a busy moment of the machine hits all of them; the medians."""
    measured: dict[str, list[Result]] = {name: [] for name in checks}
    for _ in range(ROUNDS):
        for name, check in checks.items():
            result = load.run(check.port, [check.request], connections=CONNECTIONS, seconds=SECONDS)
            if set(result.statuses) != {200}:
                raise RuntimeError(f"{name} answered {result.statuses}")
            measured[name].append(Result(result.rate, result.quantile(0.99)))
    return {name: Result(*map(statistics.median, zip(*of, strict=True))) for name, of in measured.items()}


def login(port: int, path: str) -> str:
    """The cookie of a login, as a request header."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    body = json.dumps({"email": EMAIL, "password": PASSWORD})
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    cookies = [value.split(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie"]
    connection.close()
    return next(cookie for cookie in cookies if cookie.startswith("session="))
