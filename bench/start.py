"""S8: how long `authsvc run` takes to answer, and what a web worker weighs."""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator

from bench.checks import login
from bench.stack import AUTHSVC, children, free_port, resident_mb, running, stack, wait_until_up

ROUNDS = 5


def rows() -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        times = [_start(folder) for _ in range(ROUNDS + 1)]
    yield "S8 authsvc run, first start to first answer", f"{times[0]:.2f} s (goal 3)"
    yield "S8 the same, later starts", f"{statistics.median(times[1:]):.2f} s"
    with stack() as built, built.process("web", ready="/healthz") as (port, process):
        fresh = _heaviest(process.pid)
        login(port, "/api/login")
        used = _heaviest(process.pid)
    yield "S8 web worker, resident", f"{fresh:.0f} MB after its start, {used:.0f} MB after a login (goal 90)"


def _heaviest(pid: int) -> float:
    return max(resident_mb(each) for each in [pid, *children(pid)])


def _start(folder: str) -> float:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTHSVC_")}
    environment |= {"AUTHSVC_INSTANCE": folder, "AUTHSVC_PORT": str(port), "AUTHSVC_OPS_PORT": str(free_port())}
    start = time.perf_counter()
    with running([AUTHSVC, "run"], environment):
        wait_until_up(port, "/healthz")
        return time.perf_counter() - start
