"""Reading a session: what is believed, when SQL is asked, what is never looked up. Through both doors."""

import secrets
from collections.abc import Callable
from typing import Any

import pytest

from authsvc.core import store
from authsvc.core.crypto import Token, new_token
from authsvc.core.session import RECORD, Copy, decode
from authsvc.core.settings import DAY, HOUR, MINUTE
from tests.contract.conftest import Reader, every_store, forget, value_of
from tests.contract.schedule import AsyncProcess, Clock, Process
from tests.servers import Valkey

pytestmark = every_store


def copy_in(server: Valkey, token: Token) -> Copy:
    copy = decode(value_of(server, token) or b"")
    assert copy
    return copy


def test_a_session_is_what_its_login_made_it(web: Process, reader: Reader, clock: Clock) -> None:
    user = web.new_user("anna@example.org", "editor", "admin")

    session = reader.load(web.log_in(user))

    assert session
    now = int(clock.now)
    assert (session.user, session.email, session.name) == (user, "anna@example.org", "Anna")
    assert session.roles == ("admin", "editor")
    assert (session.created, session.seen, session.authenticated) == (now, now, now)
    assert (session.amr, session.device, session.data, session.version) == (("pwd",), "Firefox on Linux", {}, 0)
    assert (session.idle, session.absolute) == (8 * HOUR, 30 * DAY)


def test_a_fresh_copy_costs_one_get_and_no_sql(reader: Reader, token: Token, clock: Clock) -> None:
    first = reader.load(token)
    reader.asked.clear()
    clock.tick(store.L / 1000 - 0.001)

    assert reader.load(token) == first
    assert reader.asked == ["GET"]


def test_a_copy_is_checked_again_after_ten_seconds(reader: Reader, token: Token, clock: Clock, valkey: Valkey) -> None:
    reader.load(token)
    reader.asked.clear()
    clock.tick(store.L / 1000)

    assert reader.load(token)

    assert reader.asked == ["GET", "SQL", "EVAL"]
    assert copy_in(valkey, token).checked == int(clock.now * 1000)


def test_a_copy_from_a_clock_ahead_is_believed_for_two_seconds_at_most(
    web: Process, reader: Reader, token: Token, clock: Clock
) -> None:
    web.load(token)
    clock.tick(-1.999)
    reader.asked.clear()
    assert reader.load(token)
    assert reader.asked == ["GET"]

    clock.tick(-0.001)
    assert reader.load(token)
    assert reader.asked[1:] == ["GET", "SQL", "EVAL"]


@pytest.mark.promise("L2")
def test_a_session_goes_on_after_redis_was_wiped(reader: Reader, token: Token, valkey: Valkey) -> None:
    session = reader.load(token)
    valkey.wipe()

    assert reader.load(token) == session
    assert copy_in(valkey, token).session == session
    reader.asked.clear()
    assert reader.load(token) == session
    assert reader.asked == ["GET"]


def record_in(server: Valkey, token: Token) -> int:
    """The version that the copy says it has."""
    return (value_of(server, token) or b"")[3]


@pytest.mark.promise("L7")
@pytest.mark.parametrize("version", [RECORD - 1, RECORD + 1], ids=["older", "newer"])
def test_a_copy_of_another_version_is_read_anew_and_rewritten_and_nobody_is_logged_out(
    web: Process, reader: Reader, token: Token, valkey: Valkey, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two versions run side by side: each takes the other's copy for none, whoever wrote last."""
    session = reader.load(token)
    assert session
    for number in range(3):
        with monkeypatch.context() as other:
            other.setattr("authsvc.core.session.RECORD", version)
            saved = web.sessions.save(session, {str(number): "by the other version"})
            assert web.load(token) == saved
            assert record_in(valkey, token) == version
        assert reader.load(token) == saved
        assert record_in(valkey, token) == RECORD
        assert copy_in(valkey, token).session == saved


def test_one_of_many_readers_fills_and_none_is_refused(token: Token, start: Callable[..., Any], valkey: Valkey) -> None:
    tasks = [start(kind).begin_load(token) for kind in (Process, AsyncProcess, Process)]
    for point in ("GET done", "SET done", "SQL done"):
        for task in tasks:
            task.until(point)

    assert all(task.finish() for task in tasks)
    assert copy_in(valkey, token).session.sid == token.sid


# -- tokens --------------------------------------------------------------------------------------------------------


def test_another_secret_is_refused_and_changes_nothing(reader: Reader, token: Token, valkey: Valkey) -> None:
    session = reader.load(token)

    assert reader.load(token._replace(secret=secrets.token_bytes(32))) is None

    assert reader.load(token) == session


def test_a_token_whose_session_never_was_is_refused(reader: Reader, token: Token) -> None:
    assert reader.load(new_token()) is None


@pytest.mark.promise("R2")
def test_an_ended_session_costs_one_get(web: Process, reader: Reader, token: Token) -> None:
    web.sessions.logout(token)

    assert reader.load(token) is None
    assert reader.asked == ["GET"]


@pytest.mark.promise("R1")
def test_an_ended_session_stays_so_when_its_mark_is_lost(
    web: Process, reader: Reader, token: Token, valkey: Valkey
) -> None:
    web.sessions.logout(token)
    forget(valkey, token)

    assert reader.load(token) is None
    assert value_of(valkey, token) == store.ENDED


# -- time-outs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("remember", "idle"), [(False, 8 * HOUR), (True, 30 * DAY)])
def test_an_idle_session_is_refused(
    web: Process, reader: Reader, user: str, clock: Clock, remember: bool, idle: int
) -> None:
    token = web.log_in(user, remember=remember)
    assert reader.load(token)
    clock.tick(idle - 1)
    bridge_sees = reader.begin_load(token)
    clock.tick(1)

    assert bridge_sees.finish() is None
    assert reader.load(token) is None


@pytest.mark.parametrize(("remember", "pause", "absolute"), [(False, 7 * HOUR, 2 * DAY), (True, 29 * DAY, 90 * DAY)])
@pytest.mark.parametrize("kind", [Process, AsyncProcess], ids=["sync", "async"])
def test_a_session_in_use_ends_at_its_absolute_time(
    start: Callable[..., Any], kind: type[Reader], user: str, clock: Clock, remember: bool, pause: int, absolute: int
) -> None:
    web, reader = start(absolute=2 * DAY), start(kind, absolute=2 * DAY)
    token = web.log_in(user, remember=remember)
    ends = clock.now + absolute
    while clock.now + pause < ends:
        clock.tick(pause)
        assert web.load(token)
    clock.now = ends - 1
    assert web.load(token)
    assert reader.load(token)

    clock.now = ends
    assert web.load(token) is None
    assert reader.load(token) is None


def test_a_fresh_copy_of_a_session_that_just_became_idle_is_not_believed(
    web: Process, reader: Reader, token: Token, clock: Clock, start: Callable[..., Any]
) -> None:
    """It may have been touched meanwhile; only its row can tell."""
    clock.tick(8 * HOUR - 1)
    assert start(AsyncProcess).load(token)  # fills, and does not touch
    clock.tick(1)

    assert reader.load(token) is None
    assert web.load(token) is None


# -- touch ---------------------------------------------------------------------------------------------------------


def test_a_session_in_use_is_touched_once_a_minute(web: Process, token: Token, clock: Clock) -> None:
    seen = [web.load(token)]
    for _ in range(150):
        clock.tick(1)
        seen.append(web.load(token))

    times = {session.seen for session in seen if session}
    assert len(seen) == 151
    assert times == {int(clock.now) - 150, int(clock.now) - 90, int(clock.now) - 30}


def test_a_touch_shows_in_the_copy_and_in_the_list(
    web: Process, token: Token, user: str, clock: Clock, valkey: Valkey
) -> None:
    web.load(token)
    clock.tick(MINUTE)

    session = web.load(token)

    assert session
    assert session.seen == int(clock.now)
    assert copy_in(valkey, token).session == session
    assert [listed.seen for listed in web.sessions.of_user(user)] == [session.seen]


def test_a_session_used_every_seven_hours_lives_on(web: Process, token: Token, clock: Clock, valkey: Valkey) -> None:
    for _ in range(10):
        clock.tick(7 * HOUR)
        forget(valkey, token)
        assert web.load(token)


def test_the_bridge_does_not_keep_a_session_alive(token: Token, clock: Clock, start: Callable[..., Any]) -> None:
    bridge = start(AsyncProcess)
    for _ in range(8):
        assert bridge.load(token)
        clock.tick(HOUR)

    assert bridge.load(token) is None


@pytest.mark.promise("R2")
def test_touch_never_brings_back_an_ended_session(
    web: Process, reader: Reader, token: Token, clock: Clock, start: Callable[..., Process]
) -> None:
    web.load(token)
    clock.tick(MINUTE + 5)
    slow = start().begin_load(token).until("SQL done").until("SQL")
    web.sessions.logout(token)

    assert slow.finish() is None

    assert reader.load(token) is None
