"""`make bench`: measure, print a table, and write it to docs/performance.md with `ARGS=--write`."""

import importlib
import platform
import sys
import time
from pathlib import Path

NAMES = ("checks", "growth", "logins", "start", "ending")
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
PREFACE = """# Performance

Printed by `make bench ARGS=--write`; ratios are taken in one run on one machine, and carry further than the rates.

"""


def main(words: list[str]) -> None:
    wanted = [word for word in words if word in NAMES] or list(NAMES)
    rows = [("machine", hardware())]
    for name in wanted:
        for row in importlib.import_module(f"bench.{name}").rows():
            print(f"{row[0]:58}{row[1]}", flush=True)
            rows.append(row)
    if "--write" in words:
        lines = [f"| {what} | {figure} |" for what, figure in rows]
        PAGE.write_text(PREFACE + "\n".join(["| measured | figure |", "|---|---|", *lines]) + "\n")


def hardware() -> str:
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo")) or "?"
    memory = next((int(line.split()[1]) // 1_048_576 for line in _lines("/proc/meminfo")), "?")
    python = platform.python_version()
    return f"{cpu}, {cores} cores, {memory} GiB, Python {python}, {time.strftime('%Y-%m-%d', time.gmtime())}"


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


if __name__ == "__main__":
    main(sys.argv[1:])
