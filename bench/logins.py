"""S2: logins a second beside the bare argon2id rate, with the same parameters on the same cores.
B3: how long a wrong password and an unknown email take."""

import json
import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher

from bench import load
from bench.stack import EMAIL, PASSWORD, Stack, stack

ROUNDS, SECONDS, TRIES = 5, 6.0, 400


def rows() -> Iterator[tuple[str, str]]:
    with stack() as built:
        yield from _rates(built)
        yield from _difference(built)


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


def _difference(built: Stack) -> Iterator[tuple[str, str]]:
    """Alternate wrong passwords and unknown emails over one connection, so that both meet the same machine."""
    changes = {f"AUTHSVC_LOGIN_{name}_LIMIT": "1000000" for name in ("PAIR", "ACCOUNT")}
    wrong = [_login(EMAIL, "not the password"), _login("nobody@example.org", "not the password")]
    with built.process("web", ready="/healthz", **changes) as (port, _):
        result = load.run(port, wrong, connections=1, seconds=TRIES * 2 * 0.03)
    known, unknown = result.latencies[0::2], result.latencies[1::2]
    gap = abs(statistics.median(known) - statistics.median(unknown))
    yield (
        f"B3 wrong password against unknown email, {len(unknown)} each",
        (
            f"medians {statistics.median(known) * 1000:.2f} and {statistics.median(unknown) * 1000:.2f} ms, "
            f"{gap * 1000:.2f} ms apart (goal under 2)"
        ),
    )


def _login(email: str, password: str) -> bytes:
    body = json.dumps({"email": email, "password": password}).encode()
    return load.request("POST", "/api/login", headers={"Content-Type": "application/json"}, body=body)
