"""Reads a history and says which promises it breaks. Pure.

A history is a list of lines: {"type": "invoke", "id", "op", "time", ...}; once there was an answer, {"type": "ok" |
"fail" | "unknown", "id", "time", ...}; {"type": "fault", "name", "on": "redis" | "sql" | "process", "from", "until"}.
`ok`: accepted, done. `fail`: refused, the caller is told that they are not logged in, or that the token is no good.
`unknown`: no answer, or one that promises nothing (503). Times are unix seconds of one clock.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

USES = frozenset({"check", "read", "save"})
L, G, CLOCKS, BREAKER = 10, 60, 2, 1.5  # seconds; see docs/sessions.md

Line = Mapping[str, Any]


@dataclass
class Operation:
    op: str
    invoked: float
    session: str = ""
    user: str = ""
    told: Line = field(default_factory=dict)  # what was said with the invocation
    result: str = "unknown"
    answered: float = inf
    answer: Line = field(default_factory=dict)

    @property
    def final(self) -> float:
        """When what it ended is ended for everybody: infinity if nobody has promised that."""
        return float(self.answer.get("final_by", self.answered)) if self.result == "ok" else inf


class History:
    def __init__(self, lines: Iterable[Line]) -> None:
        self.operations: dict[int, Operation] = {}
        self.faults: list[Line] = []
        for line in lines:
            if line["type"] == "fault":
                self.faults.append(line)
            elif line["type"] == "invoke":
                said = (line["op"], line["time"], line.get("session", ""), line.get("user", ""), line)
                self.operations[line["id"]] = Operation(*said)
            else:
                done = self.operations[line["id"]]
                done.result, done.answered, done.answer = line["type"], line["time"], line
                done.session = line.get("session", done.session)

    def of(self, *names: str) -> Iterator[Operation]:
        return (each for each in self.operations.values() if each.op in names)

    def sessions(self) -> dict[str, Operation]:
        """The login of each session that a client got."""
        return {each.session: each for each in self.of("login") if each.result == "ok"}

    def uses(self) -> dict[str, list[Operation]]:
        uses = defaultdict(list)
        for each in self.of(*USES):
            uses[each.session].append(each)
        return uses

    def ends(self) -> dict[str, list[Operation]]:
        """What may have ended each session, acknowledged or not."""
        ends: dict[str, list[Operation]] = defaultdict(list)
        for each in self.of("logout"):
            ends[each.session].append(each)
        by_user = defaultdict(list)
        for each in self.of("end_all"):
            by_user[each.user].append(each)
        for session, login in self.sessions().items():
            ends[session] += by_user[login.user]
        return ends

    def trouble(self, on: str, start: float, end: float) -> bool:
        """Whether a fault of that kind was felt between two times."""
        return any(f["on"] == on and f["from"] < end and start < f["until"] + BREAKER for f in self.faults)


def violations(lines: Iterable[Line]) -> list[str]:
    """One sentence for each promise that was broken."""
    history = History(lines)
    rules = (ended_is_final, written_is_kept, spent_once, nobody_sees_another, nobody_is_logged_out)
    return [f"{rule.__name__}: {words}" for rule in rules for words in rule(history)]


def ended_is_final(history: History) -> Iterator[str]:
    """R1, R6: no use that begins after an acknowledged end is accepted. A 202 counts from the time that it names."""
    uses, logins = history.uses(), history.sessions()
    for session, ends in history.ends().items():
        login = logins.get(session)
        known = [end for end in ends if end.op == "logout" or (login and login.answered < end.invoked)]
        final = min((end.final for end in known), default=inf)
        for use in uses[session]:
            if use.result == "ok" and use.invoked > final:
                yield f"{session} was ended at {final:.3f} and accepted at {use.invoked:.3f} ({use.op})"


def written_is_kept(history: History) -> Iterator[str]:
    """L1, L2: whoever reads after an acknowledged save sees it; where its writer may not have reached Redis, within L,
    or within G if SQL was in trouble too. The last reads, after all faults, see everything."""
    reads = defaultdict(list)
    for each in history.of("read"):
        if each.result == "ok":
            reads[each.session].append(each)
    for save in history.of("save"):
        if save.result != "ok":
            continue
        seen_by = save.answered + _late(history, save)
        for read in reads[save.session]:
            due = read.invoked > (save.answered if read.told.get("last") else seen_by)
            if due and save.told["key"] not in read.answer["data"]:
                key = save.told["key"]
                yield f"{save.session} had kept {key} at {save.answered:.3f}; it was not read at {read.invoked:.3f}"


def _late(history: History, save: Operation) -> float:
    if not history.trouble("redis", save.invoked - BREAKER, save.answered):
        return 0
    sql = history.trouble("sql", save.invoked, save.answered + G + CLOCKS)
    return (G if sql else L) + CLOCKS


def spent_once(history: History) -> Iterator[str]:
    """What is good once is taken once."""
    spent: dict[str, int] = defaultdict(int)
    for each in history.of("spend"):
        spent[each.told["token"]] += each.result == "ok"
    for token, times in spent.items():
        if times > 1:
            yield f"{token} was taken {times} times"


def nobody_sees_another(history: History) -> Iterator[str]:
    """Whoever is answered is who logged in, and what they read is what they have written."""
    logins = history.sessions()
    for session, uses in history.uses().items():
        owner = logins[session].user
        for use in uses:
            if use.result != "ok":
                continue
            strange = [key for key in use.answer.get("data", ()) if not key.startswith(f"{session} ")]
            if use.answer["saw"] != owner or strange:
                yield f"{session} of {owner} was answered {use.answer['saw']} {strange}"


def nobody_is_logged_out(history: History) -> Iterator[str]:
    """L2, L3: a session that nobody has begun to end is never refused."""
    ends = history.ends()
    for session, uses in history.uses().items():
        begun = min((end.invoked for end in ends[session]), default=inf)
        for use in uses:
            if use.result == "fail" and use.answered < begun:
                yield f"{session} was refused at {use.answered:.3f}, and nobody had ended it"
