"""The history of a run, and what it says of each session. Pure.

A list of lines: {"type": "invoke", "id", "op", "time", ...}; once there was an answer, {"type": "ok" | "fail" |
"unknown", "id", "time", ...}; {"type": "fault", "name", "on": "redis" | "sql" | "process", "from", "until"}.
`ok`: accepted, done. `fail`: refused, the caller is told that they are not logged in, or that the token is no good.
`unknown`: no answer, or one that promises nothing (503).

A socket or stream is opened by an operation that is `ok`; then come {"type": "event", "id", "time", "name", "sid"} for
each event that it was given, and one {"type": "closed", "id", "time", "why": "ended" | "lost" | "left"}.
Times are unix seconds of one clock.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

CONNECTIONS = frozenset({"socket", "stream"})
USES = frozenset({"check", "read", "save"}) | CONNECTIONS
BREAKER = 1.5  # seconds for which a fault is felt when it is over

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
    events: list[Line] = field(default_factory=list)
    closed: float = inf
    why: str = ""

    @property
    def final(self) -> float:
        """When what it ended is ended for everybody: infinity if nobody has promised that."""
        return float(self.answer.get("final_by", self.answered)) if self.result == "ok" else inf

    @property
    def refused(self) -> float:
        """When the caller was told that they are not logged in."""
        return self.answered if self.result == "fail" else self.closed if self.why == "ended" else inf


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
                self._add(self.operations[line["id"]], line)

    def _add(self, to: Operation, line: Line) -> None:
        if line["type"] == "event":
            to.events.append(line)
        elif line["type"] == "closed":
            to.closed, to.why = line["time"], line["why"]
        else:
            to.result, to.answered, to.answer = line["type"], line["time"], line
            to.session = line.get("session", to.session)

    def of(self, *names: str) -> Iterator[Operation]:
        return (each for each in self.operations.values() if each.op in names)

    def connections(self) -> list[Operation]:
        """The sockets and streams that were opened."""
        return [each for each in self.of(*CONNECTIONS) if each.result == "ok"]

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

    def finals(self) -> dict[str, float]:
        """From when on each session is ended for everybody. Who ended all did not mean a login that came later."""
        logins, finals = self.sessions(), {}
        for session, ends in self.ends().items():
            login = logins.get(session)
            known = [end for end in ends if end.op == "logout" or (login and login.answered < end.invoked)]
            finals[session] = min((end.final for end in known), default=inf)
        return finals

    def trouble(self, on: str, start: float, end: float) -> bool:
        """Whether a fault of that kind was felt between two times."""
        return any(f["on"] == on and f["from"] < end and start < f["until"] + BREAKER for f in self.faults)

    def calm(self, since: float, seconds: float) -> float:
        """When, from some time on, no fault was felt for so long: the end of the first such while."""
        begins = since
        for fault in sorted(self.faults, key=lambda fault: float(fault["from"])):
            if fault["from"] < begins + seconds:
                begins = max(begins, fault["until"] + BREAKER)
        return begins + seconds
