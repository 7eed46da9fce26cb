"""S1: GET /api/session beside stock Flask + Flask-Session, on the same server with the same threads."""

import http.client
import json
import os
import statistics
import sys
from collections.abc import Iterator

from bench import load
from bench.stack import EMAIL, PASSWORD, free_port, running, stack, wait_until_up

ROUNDS, SECONDS, CONNECTIONS, THREADS = 5, 4.0, 16, 32


def rows() -> Iterator[tuple[str, str]]:
    with stack() as built, built.process("web", ready="/healthz", AUTHSVC_WEB_THREADS=str(THREADS)) as (port, _):
        stock_port = free_port()
        command = [
            sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(stock_port), "--no-access-log",
            "--blocking-threads", str(THREADS), "--log-level", "warning", "bench.stock:app",
        ]  # fmt: skip
        with running(command, {**os.environ, "STOCK_REDIS_URL": built.redis_url}):
            wait_until_up(stock_port, "/healthz")
            ours = load.request("GET", "/api/session", headers={"Cookie": login(port, "/api/login")})
            theirs = load.request("GET", "/whoami", headers={"Cookie": login(stock_port, "/login")})
            yield from _compare(port, ours, stock_port, theirs)


def _compare(port: int, ours: bytes, stock_port: int, theirs: bytes) -> Iterator[tuple[str, str]]:
    rates: dict[str, list[float]] = {"ours": [], "stock": []}
    tails: dict[str, list[float]] = {"ours": [], "stock": []}
    for _ in range(ROUNDS):
        for name, at, prepared in (("ours", port, ours), ("stock", stock_port, theirs)):
            result = load.run(at, [prepared], connections=CONNECTIONS, seconds=SECONDS)
            if set(result.statuses) != {200}:
                raise RuntimeError(f"{name} answered {result.statuses}")
            rates[name].append(result.rate)
            tails[name].append(result.quantile(0.99))
    mine, stock_rate = (statistics.median(rates[name]) for name in ("ours", "stock"))
    yield "S1 GET /api/session, requests/s", f"{mine:,.0f} (p99 {statistics.median(tails['ours']) * 1000:.1f} ms)"
    yield (
        "S1 stock Flask + Flask-Session, requests/s",
        (f"{stock_rate:,.0f} (p99 {statistics.median(tails['stock']) * 1000:.1f} ms)"),
    )
    yield "S1 ratio (goal 1.5)", f"{mine / stock_rate:.2f}"


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
