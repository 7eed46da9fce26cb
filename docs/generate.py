"""Writes the pages that say what the code says: `python docs/generate.py`. A test fails when one is out of date."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from authsvc.core.settings import Settings

SETTINGS_PAGE = Path(__file__).parent / "settings.md"

HEAD = """# Settings

Read once from the environment and checked at start; durations are in seconds, lists are separated by commas.
Made from `authsvc/core/settings.py` by `python docs/generate.py`.

| variable | default | meaning |
|---|---|---|
"""


def settings_page() -> str:
    rows = [
        f"| `AUTHSVC_{name.upper()}` | `{_shown(field.default)}` | {' '.join((field.description or '').split())} |"
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


# -- promises ----------------------------------------------------------------------------------------------------------

TESTS = Path(__file__).parent.parent / "tests"
PROMISES_PAGE = Path(__file__).parent / "promises.md"

PROMISES_HEAD = """# Promises

What may be counted on, and the tests that show it: each can fail, and [mutations.md](mutations.md) names changes that
made them fail. *Acknowledged* means answered with a 2xx other than 202. Under which fault what holds, and for how long,
is in [sessions.md](sessions.md); speed is measured, in [performance.md](performance.md), and not promised here.
Made from the marks in `tests/` by `python docs/generate.py`.

"""

PROMISES = {
    "R1": "After an acknowledged end of a session no request with its cookie is accepted, by any process.",
    "R2": "No save, touch, refill or change of token brings an ended session back.",
    "R3": "The sockets and streams of an ended session are closed, also of a client that ignores it or does not read.",
    "R4": "A logout that races a handshake or a login wins.",
    "R5": "A connected verifier refuses an ended session's access tokens at once; so do introspection and refreshing.",
    "R6": "An end survives faults: Redis killed, wiped, restored or failed over, SQL restarted, processes killed.",
    "R7": "To end all sessions ends exactly those that were alive, whoever does it.",
    "L1": "Writes to different keys of one session at once both survive.",
    "L2": "Redis wiped or away logs nobody out.",
    "L3": "SQL away logs nobody out: sessions in use go on for 50 to 60 s, then the answer is 503.",
    "L4": "Every mail whose cause was committed is sent at least once, and none for what was rolled back.",
    "L5": "A bad address or a job that cannot be done stalls nobody, and ends where an operator sees it.",
    "L7": "Copies of the version before and after are read anew and rewritten: nobody is logged out.",
    "L8": "A refresh token that comes twice within 30 s gets the same successor; any other replay ends its family.",
    "B1": "No input gives a 5xx.",
    "B2": "A planted token is never adopted; the token changes at login and at step-up.",
    "B3": "Nobody learns whether an address has an account.",
    "B4": "Guessing is bounded, across processes and while Redis is down; a stranger cannot lock the owner out.",
    "B5": "A flood of logins is refused early and does not stop checks.",
    "B6": "Forward-auth never fails open, through real proxies.",
    "B7": "A dump of Redis, of the database or of the logs holds nothing that logs in.",
    "B8": "No cross-site write, no cross-site socket, no open redirect, no header injection.",
    "B9": "Tokens are checked as RFC 8725 says: one algorithm for each key, and nothing that a token says of itself.",
    "B10": "The service does not start with a known, short or example secret.",
    "S7": "A hot copy of an ordinary session is small.",
}


def promises_page() -> str:
    shown = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for number, test in _marked(ast.parse(path.read_text())):
            shown[number].append((path.relative_to(TESTS.parent), test))
    if shown.keys() != PROMISES.keys():
        raise ValueError(f"without a sentence or without a test: {sorted(shown.keys() ^ PROMISES.keys())}")
    return PROMISES_HEAD + "\n".join(_promise(number, shown[number]) for number in PROMISES)


def _promise(number: str, tests: list[tuple[Path, str]]) -> str:
    lines = [f"## {number}", "", PROMISES[number], ""]
    for path in sorted({path for path, _ in tests}):
        names = ", ".join(f"`{test.removeprefix('test_')}`" for found, test in tests if found == path)
        lines.append(f"- [{path}](../{path}): {names}")
    return "\n".join([*lines, ""])


def _marked(module: ast.Module) -> Iterator[tuple[str, str]]:
    """The numbers that the tests of a file are marked with, by themselves or all of them by `pytestmark`."""
    assigned = [node for node in module.body if isinstance(node, ast.Assign)]
    everywhere = [number for node in assigned if "pytestmark" in ast.unparse(node) for number in _numbers(node)]
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            own = [number for mark in node.decorator_list for number in _numbers(mark)]
            for number in dict.fromkeys([*everywhere, *own]):
                yield number, node.name


def _numbers(node: ast.AST) -> list[str]:
    return re.findall(r"mark\.promise\('(\w+)'\)", ast.unparse(node))


def _shown(default: object) -> str:
    return {"()": "", "True": "true", "False": "false"}.get(str(default), str(default)) or " "


if __name__ == "__main__":
    SETTINGS_PAGE.write_text(settings_page())
    PROMISES_PAGE.write_text(promises_page())
