"""Reads a history and says which promises it breaks. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import inf

from tests.faults.history import History, Line, Operation

L, G, CLOCKS = 10, 60, 2  # seconds; see docs/sessions.md
HEARD, LOOKED = 10, 75  # seconds in which the bridge knows of an end: when all is well again, and whatever happens


def violations(lines: Iterable[Line]) -> list[str]:
    """One sentence for each promise that was broken."""
    history = History(lines)
    rules = (
        ended_is_final, ended_is_closed, ended_is_told_nothing, written_is_kept, spent_once, nobody_sees_another,
        nobody_is_logged_out,
    )  # fmt: skip
    return [f"{rule.__name__}: {words}" for rule in rules for words in rule(history)]


def ended_is_final(history: History) -> Iterator[str]:
    """R1, R6: no use that begins after an acknowledged end is accepted. A 202 counts from the time that it names."""
    uses = history.uses()
    for session, final in history.finals().items():
        for use in uses[session]:
            if use.result == "ok" and use.invoked > final:
                yield f"{session} was ended at {final:.3f} and accepted at {use.invoked:.3f} ({use.op})"


def ended_is_closed(history: History) -> Iterator[str]:
    """R3, R6: what an ended session holds open is closed as soon as the bridge has had the time to hear of the end."""
    finals = history.finals()
    for each in history.connections():
        final = finals.get(each.session, inf)
        due = min(final + LOOKED, history.calm(final, HEARD))
        if each.closed > due:
            yield f"{each.session} was ended at {final:.3f}; a {each.op} was open until {each.closed:.3f}"


def ended_is_told_nothing(history: History) -> Iterator[str]:
    """R3: what nobody had begun when a session's end was final is not told to what it holds open."""
    finals, begun = history.finals(), _begun(history)
    for each in history.connections():
        final = finals.get(each.session, inf)
        for event in each.events:
            if begun.get((event["name"], event["sid"]), -inf) > final:
                yield f"{each.session} was ended at {final:.3f} and told at {event['time']:.3f}: {event['name']}"


def _begun(history: History) -> dict[tuple[str, str], float]:
    """When somebody first asked for what an event tells, by its name and the session that it is about."""
    ends, begun = history.ends(), {}
    for session, login in history.sessions().items():
        begun["session.started", login.answer["sid"]] = login.invoked
        begun["session.ended", login.answer["sid"]] = min((end.invoked for end in ends[session]), default=-inf)
    return begun


def written_is_kept(history: History) -> Iterator[str]:
    """L1, L2: whoever reads after an acknowledged save sees it; where its writer could not reach Redis, within L, or
    within G if SQL was in trouble too. The last reads, after all faults, see everything."""
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
    if not save.answer.get("missed"):
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
    """Whoever is answered is who logged in; what they read is what they have written, and what they are told is about
    their own sessions."""
    logins = history.sessions()
    owners = {login.answer["sid"]: login.user for login in logins.values()}
    for session, uses in history.uses().items():
        owner = logins[session].user
        for use in uses:
            strange = [key for key in use.answer.get("data", ()) if not key.startswith(f"{session} ")]
            strange += [each["name"] for each in use.events if owners.get(each["sid"], owner) != owner]
            if use.result == "ok" and (use.answer.get("saw", owner) != owner or strange):
                yield f"{session} of {owner} was answered {use.answer.get('saw')} {strange}"


def nobody_is_logged_out(history: History) -> Iterator[str]:
    """L2, L3: a session that nobody has begun to end is never refused, and nothing that it holds open is told so."""
    ends = history.ends()
    for session, uses in history.uses().items():
        begun = min((end.invoked for end in ends[session]), default=inf)
        for use in uses:
            if use.refused < begun:
                yield f"{session} was refused at {use.refused:.3f}, and nobody had ended it ({use.op})"
