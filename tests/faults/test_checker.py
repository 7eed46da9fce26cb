"""The checker of histories sees each broken promise, and lets pass what is allowed."""

from typing import Any

import pytest

from tests.faults.checker import CLOCKS, HEARD, LOOKED, G, L, violations


class Story:
    """A history that is told line by line: each call begins and ends an operation, a second apart."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.now = 1000.0
        self._count = 0

    def tell(self, op: str, result: str = "ok", *, answer: dict[str, Any] | None = None, **said: Any) -> "Story":
        number = self.begin(op, **said)
        return self.end(number, result, **(answer or {}))

    def begin(self, op: str, **said: Any) -> int:
        self._count += 1
        self.now += 1
        self.lines.append({"type": "invoke", "id": self._count, "op": op, "time": self.now, **said})
        return self._count

    def end(self, number: int, result: str = "ok", **said: Any) -> "Story":
        self.now += 1
        self.lines.append({"type": result, "id": number, "time": self.now, **said})
        return self

    def wait(self, seconds: float) -> "Story":
        self.now += seconds
        return self

    def fault(self, on: str) -> "Story":
        self.lines.append({"type": "fault", "name": "x", "on": on, "from": self.now, "until": self.now + 1})
        return self

    def login(self, session: str = "s", user: str = "anna") -> "Story":
        return self.tell("login", user=user, answer={"session": session, "sid": f"sid of {session}"})

    def check(self, result: str = "ok", session: str = "s", saw: str = "anna") -> "Story":
        return self.tell("check", result, session=session, answer={"saw": saw})

    def read(self, *keys: str, **said: Any) -> "Story":
        return self.tell("read", session="s", answer={"saw": "anna", "data": list(keys)}, **said)

    def save(self, key: str, **answer: Any) -> "Story":
        return self.tell("save", session="s", key=key, answer={"saw": "anna", **answer})

    def open(self, op: str = "socket", session: str = "s") -> int:
        number = self.begin(op, session=session)
        self.end(number, "ok", **({"saw": "anna"} if op == "socket" else {}))
        return number

    def event(self, number: int, name: str, session: str) -> "Story":
        return self.end(number, "event", name=name, sid=f"sid of {session}")

    def closed(self, number: int, why: str = "ended") -> "Story":
        return self.end(number, "closed", why=why)

    @property
    def broken(self) -> list[str]:
        return [words.split(":")[0] for words in violations(self.lines)]


def test_a_quiet_life_breaks_nothing() -> None:
    story = Story().login().check().save("s 1").read("s 1").tell("logout", session="s").check("fail")
    assert story.login("t").check(session="t").broken == []


@pytest.mark.parametrize("end", [{"op": "logout", "session": "s"}, {"op": "end_all", "user": "anna"}])
def test_a_use_after_an_acknowledged_end(end: dict[str, Any]) -> None:
    assert Story().login().tell(**end).check().broken == ["ended_is_final"]
    assert Story().login().tell(**end, result="unknown").check().check("fail").broken == []


def test_an_end_that_is_under_way_may_be_late() -> None:
    story = Story().login()
    end = {"final_by": story.now + 70}
    story.tell("logout", session="s", answer=end).check()
    assert story.broken == []
    assert story.wait(70).check().broken == ["ended_is_final"]


def test_a_use_that_began_before_the_answer_of_the_end_may_be_accepted() -> None:
    story = Story().login()
    check = story.begin("check", session="s")
    assert story.tell("logout", session="s").end(check, saw="anna").broken == []


def test_end_all_ends_no_session_whose_login_it_did_not_know() -> None:
    story = Story()
    login = story.begin("login", user="anna")
    assert story.tell("end_all", user="anna").end(login, session="s", sid="sid of s").check().broken == []


@pytest.mark.parametrize("op", ["socket", "stream"])
def test_what_is_opened_after_an_end(op: str) -> None:
    story = Story().login().tell("logout", session="s")
    story.closed(story.open(op))
    assert story.broken == ["ended_is_final"]


@pytest.mark.parametrize("op", ["socket", "stream"])
def test_what_stays_open_after_an_end_though_all_is_well(op: str) -> None:
    story = Story().login()
    opened = story.open(op)
    story.tell("logout", session="s").wait(HEARD - 2).closed(opened)
    assert story.broken == []

    story = Story().login()
    opened = story.open(op)
    story.tell("logout", session="s").wait(HEARD).closed(opened, "left")
    assert story.broken == ["ended_is_closed"]


def test_what_is_never_closed() -> None:
    story = Story().login()
    story.open()
    assert story.broken == []
    assert story.tell("logout", session="s").broken == ["ended_is_closed"]


@pytest.mark.parametrize(("after", "broken"), [(LOOKED - 5, []), (LOOKED, ["ended_is_closed"])])
def test_faults_put_a_close_off_but_not_for_ever(after: int, broken: list[str]) -> None:
    story = Story().login()
    opened = story.open()
    story.tell("logout", session="s")
    for _ in range(0, after, 5):
        story.fault("process").wait(5)
    assert story.closed(opened).broken == broken


def test_what_is_told_after_an_end() -> None:
    story = Story().login()
    opened = story.open()
    story.tell("logout", session="s").login("t").event(opened, "session.started", "t").closed(opened)
    assert story.broken == ["ended_is_told_nothing"]


def test_what_was_begun_before_an_end_may_be_told_after_it() -> None:
    story = Story().login()
    opened = story.open()
    login = story.begin("login", user="anna")
    story.tell("logout", session="s").end(login, session="t", sid="sid of t")
    assert story.event(opened, "session.started", "t").closed(opened).broken == []


def test_a_session_that_goes_on_may_be_told_of_the_end_of_another() -> None:
    story = Story().login().login("t")
    opened = story.open(session="t")
    story.tell("logout", session="s").event(opened, "session.ended", "s")
    assert story.closed(opened, "left").broken == []


def test_an_event_about_another_user() -> None:
    story = Story().login().login("t", "bob")
    opened = story.open()
    assert story.event(opened, "session.started", "t").closed(opened, "left").broken == ["nobody_sees_another"]


def test_a_connection_that_is_told_of_an_end_without_a_reason() -> None:
    story = Story().login()
    assert story.closed(story.open(), "lost").broken == []
    assert story.closed(story.open(), "ended").broken == ["nobody_is_logged_out"]


def test_a_write_that_is_lost() -> None:
    assert Story().login().save("s 1").read().broken == ["written_is_kept"]


@pytest.mark.parametrize(("faults", "late"), [((), L), (("sql",), G)])
def test_a_write_that_did_not_reach_redis_is_seen_late_but_not_later(faults: tuple[str, ...], late: float) -> None:
    story = Story().login()
    for each in faults:
        story.fault(each)
    story.save("s 1", missed=True).read()
    assert story.broken == []
    assert story.wait(late + CLOCKS).read().broken == ["written_is_kept"]


def test_a_write_that_reached_redis_is_seen_at_once_whatever_happens() -> None:
    assert Story().login().fault("redis").save("s 1").fault("redis").read().broken == ["written_is_kept"]


def test_the_last_reads_see_everything() -> None:
    assert Story().login().save("s 1", missed=True).read(last=True).broken == ["written_is_kept"]


def test_a_token_that_is_taken_twice() -> None:
    story = Story().tell("spend", token="x").tell("spend", "fail", token="x")
    assert story.broken == []
    assert story.tell("spend", token="x").broken == ["spent_once"]


def test_another_user() -> None:
    assert Story().login().check(saw="bob").broken == ["nobody_sees_another"]
    assert Story().login().read("t 1").broken == ["nobody_sees_another"]


def test_a_session_that_is_refused_without_a_reason() -> None:
    assert Story().login().check("fail").broken == ["nobody_is_logged_out"]
    assert Story().login().tell("end_all", "unknown", user="anna").check("fail").broken == []
    assert Story().login().login("t", "bob").tell("end_all", user="bob").check("fail").broken == [
        "nobody_is_logged_out"
    ]
