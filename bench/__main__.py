"""`make bench`: measure and print; `ARGS=growth` measures that alone, and `ARGS="growth --write"` also puts its figures
into docs/performance.md, in place of those that were there. All of it takes about ten minutes."""

import importlib
import platform
import sys
import time
from pathlib import Path

NAMES = ("checks", "growth", "logins", "start", "ending", "revocations", "tokens", "tokens_sdk")
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
PREFACE = """# Performance

Printed by `make bench ARGS=--write`; ratios are taken in one run on one machine, and carry further than the rates.
"""


def main(words: list[str]) -> str:
    """Returns what is wrong with the words, if anything."""
    unknown = set(words) - {*NAMES, "--write"}
    if unknown:
        return f"There is no {', '.join(sorted(unknown))}. There are {', '.join(NAMES)}, and --write."
    for name in [each for each in NAMES if each in words] or NAMES:
        bench, rows = importlib.import_module(f"bench.{name}"), []
        for what, figure in bench.rows():
            print(f"{what:58} {figure}", flush=True)
            rows.append(f"| {what} | {figure} |")
        if "--write" in words:
            write(name, "\n".join([bench.__doc__, "", hardware(), "", "| measured | figure |", "|---|---|", *rows]))
    return ""


def write(name: str, text: str) -> None:
    """At once: a bench that fails later takes nothing away from those before it."""
    _, *parts = PAGE.read_text().split("\n## ") if PAGE.exists() else ["none"]
    kept = dict(part.split("\n\n", 1) for part in parts) | {name: text + "\n"}
    PAGE.write_text(PREFACE + "".join(f"\n## {each}\n\n{kept[each]}" for each in NAMES if each in kept))


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
    sys.exit(main(sys.argv[1:]))
