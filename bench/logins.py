"""S2: logins a second beside the bare argon2id rate, with the same parameters on the same cores.
B3: how long calls take for an email that has an account, and for one that has none."""

import json
import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher

from bench import load
from bench.stack import EMAIL, PASSWORD, Stack, stack

ROUNDS, SECONDS, TRIES = 5, 4.0, 400
BOTH = (EMAIL, "nobody@example.org")


def rows() -> Iterator[tuple[str, str]]:
    with stack() as built:
        yield from _rates(built)
        yield from _differences(built)


def _rates(built: Stack) -> Iterator[tuple[str, str]]:
    good = _login(EMAIL, PASSWORD)
    bare, ours = [], []
    with built.process("web", ready="/healthz") as (port, _):
        for _ in range(ROUNDS):
            bare.append(_bare_rate(SECONDS))
            result = load.run(port, [good], connections=(os.cpu_count() or 1) + 2, seconds=SECONDS)
            if set(result.statuses) != {200}:
                raise RuntimeError(f"logins answered {result.statuses}")
            ours.append(result.rate)
    fast, slow = statistics.median(bare), statistics.median(ours)
    yield "S2 bare argon2id (t=2, m=19 MiB, p=1), hashes/s", f"{fast:.1f}"
    yield "S2 POST /api/login, logins/s", f"{slow:.1f}"
    yield "S2 ratio (goal 0.95)", f"{slow / fast:.2f}"


def _bare_rate(seconds: float) -> float:
    hasher, cores = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1), os.cpu_count() or 1
    stored = hasher.hash(PASSWORD)

    def verify_until(end: float) -> int:
        count = 0
        while time.perf_counter() < end:
            hasher.verify(stored, PASSWORD)
            count += 1
        return count

    start = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        counts = list(pool.map(verify_until, [start + seconds] * cores))
    return sum(counts) / (time.perf_counter() - start)


def _differences(built: Stack) -> Iterator[tuple[str, str]]:
    """Alternate an email that has an account and one that has none over one connection, so that both meet the same
    machine."""
    limits = ("LOGIN_PAIR", "LOGIN_ACCOUNT", "REGISTER_ADDRESS", "MAIL")
    pairs = {
        "a login with a wrong password": [_login(email, "not the password") for email in BOTH],
        "a registration": [_post("/api/register", email=email, password=PASSWORD) for email in BOTH],
        "a forgotten password": [_post("/api/password/forgot", email=email) for email in BOTH],
    }
    with built.process("web", ready="/healthz", **{f"AUTHSVC_{name}_LIMIT": "1000000" for name in limits}) as (port, _):
        for what, pair in pairs.items():
            result = load.run(port, pair, connections=1, seconds=TRIES * 2 * 0.03)
            known, unknown = (statistics.median(result.latencies[start::2]) * 1000 for start in (0, 1))
            figure = f"medians {known:.2f} and {unknown:.2f} ms, {abs(known - unknown):.2f} ms apart (goal under 2)"
            yield f"B3 {what}, known and unknown email, {len(result.latencies) // 2} each", figure


def _login(email: str, password: str) -> bytes:
    return _post("/api/login", email=email, password=password)


def _post(path: str, **members: str) -> bytes:
    body = json.dumps(members).encode()
    return load.request("POST", path, headers={"Content-Type": "application/json"}, body=body)
