"""Saving, rotating, and a user's changed roles: nothing acknowledged is lost, nothing ended comes back."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from authsvc.core import store
from authsvc.core.crypto import Token
from authsvc.core.errors import BadRequest, StorageDown
from authsvc.core.session import Session
from tests.contract.conftest import Reader, every_store, forget, put_back, value_of
from tests.contract.schedule import AsyncProcess, Clock, Process
from tests.servers import Valkey

pytestmark = every_store


def loaded(reader: Reader, token: Token) -> Session:
    session = reader.load(token)
    assert session
    return session


# -- save ----------------------------------------------------------------------------------------------------------


@pytest.mark.promise("L1")
def test_a_save_is_seen_at_once_by_everybody(web: Process, reader: Reader, token: Token) -> None:
    loaded(reader, token)

    saved = web.sessions.save(loaded(web, token), {"a": 1, "b": [1, {"c": None}]})

    assert saved
    assert loaded(reader, token) == saved
    assert saved.data == {"a": 1, "b": [1, {"c": None}]}
    assert reader.asked[-1] == "GET"


@pytest.mark.promise("L1")
def test_a_save_keeps_what_it_does_not_name_and_removes_what_it_is_told(web: Process, token: Token) -> None:
    session = web.sessions.save(loaded(web, token), {"a": 1, "b": 2, "c": 3})
    assert session

    saved = web.sessions.save(session, {"a": 9}, frozenset({"b", "unknown"}))

    assert saved
    assert saved.data == {"a": 9, "c": 3}


@pytest.mark.promise("L1")
def test_of_two_saves_of_the_same_key_the_last_wins(start: Callable[..., Process], token: Token) -> None:
    one, two = start(), start()
    first, second = loaded(one, token), loaded(two, token)
    later = one.begin(one.sessions.save, first, {"key": "later", "first": 1})

    two.sessions.save(second, {"key": "sooner", "second": 2})
    later.finish()

    assert loaded(two, token).data == {"key": "later", "first": 1, "second": 2}


@pytest.mark.promise("L1")
def test_a_save_is_seen_at_once_though_another_was_filling_meanwhile(
    web: Process, start: Callable[..., Process], reader: Reader, token: Token, valkey: Valkey
) -> None:
    session, slow = loaded(web, token), start()
    forget(valkey, token)
    save = web.begin(web.sessions.save, session, {"a": 1}).until("GET done")
    fill = slow.begin(slow.sessions.load, token).until("SQL done")  # its mark is there, and what it read is old

    assert save.finish()
    fill.finish()

    assert loaded(reader, token).data == {"a": 1}


@pytest.mark.promise("L1")
def test_sixteen_that_save_at_once_lose_nothing(start: Callable[..., Process], web: Process, token: Token) -> None:
    session, together = loaded(web, token), threading.Barrier(16)

    def save(number: int) -> None:
        together.wait()
        for part in range(3):
            assert web.sessions.save(session, {f"{number}.{part}": number})

    threads = [threading.Thread(target=save, args=(number,)) for number in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert loaded(start(), token).data == {f"{n}.{part}": n for n in range(together.parties) for part in range(3)}


def test_a_save_acknowledges_also_when_redis_was_not_reached(
    web: Process, reader: Reader, token: Token, clock: Clock
) -> None:
    session = loaded(web, token)
    web.redis_cut = True

    assert web.sessions.save(session, {"kept": 1})

    assert loaded(web, token).data == {"kept": 1}
    clock.tick(store.L / 1000)
    assert loaded(reader, token).data == {"kept": 1}


def test_a_save_that_redis_did_not_take_is_tried_three_times(
    web: Process, token: Token, start: Callable[..., Process], valkey: Valkey
) -> None:
    """Each time another process put something there between the writer's look and its compare-and-set."""
    web.asked.clear()
    task = web.begin(web.sessions.save, loaded(web, token), {"a": 1})
    while not task.done:
        task.until("EVAL")
        put_back(valkey, token, store.FILLING + b"of another")
        task.step()
        put_back(valkey, token, b"something else")
        if web.asked.count("EVAL") == 1 + 1 + store.REFILLS:  # one was that of the load
            break

    assert task.finish().data == {"a": 1}
    assert web.asked.count("EVAL") == 1 + 1 + store.REFILLS
    assert loaded(start(), token).data == {"a": 1}


def test_a_save_without_sql_is_not_acknowledged(web: Process, reader: Reader, token: Token) -> None:
    session = loaded(web, token)
    web.sql_cut = True

    with pytest.raises(StorageDown):
        web.sessions.save(session, {"a": 1})

    assert loaded(reader, token).data == {}


@pytest.mark.promise("R2")
@pytest.mark.parametrize("kept", [True, False], ids=["copy there", "copy lost"])
def test_a_save_never_brings_back_an_ended_session(
    web: Process, reader: Reader, token: Token, start: Callable[..., Process], valkey: Valkey, kept: bool
) -> None:
    slow = start()
    session = loaded(slow, token)
    web.sessions.logout(token)
    if not kept:
        forget(valkey, token)

    assert slow.sessions.save(session, {"a": 1}) is None

    assert reader.load(token) is None
    assert value_of(valkey, token) == store.ENDED


def test_what_a_session_cannot_keep_is_refused_and_the_session_lives_on(
    web: Process, reader: Reader, token: Token
) -> None:
    for value in (2**64, -(2**63) - 1, float("nan"), float("inf"), "\ud800", {"\ud800": 1}, {1, 2}, b"x"):
        with pytest.raises(BadRequest):
            web.sessions.save(loaded(web, token), {"key": value})

    assert loaded(reader, token).data == {}


# -- rotate --------------------------------------------------------------------------------------------------------


@pytest.mark.promise("B2")
def test_a_rotation_replaces_the_token_and_keeps_the_session(
    web: Process, reader: Reader, token: Token, clock: Clock
) -> None:
    session = web.sessions.save(loaded(web, token), {"kept": 1})
    assert session
    clock.tick(30)

    newer = web.sessions.rotate(session, ("pwd", "otp"))

    assert newer
    assert newer.sid == token.sid
    assert newer.secret != token.secret
    rotated = loaded(reader, newer)
    assert (rotated.data, rotated.amr, rotated.authenticated) == ({"kept": 1}, ("pwd", "otp"), int(clock.now))
    assert reader.load(token) is None


@pytest.mark.promise("B2")
def test_an_old_token_is_refused_within_l_also_where_redis_did_not_hear_of_the_rotation(
    web: Process, reader: Reader, token: Token, clock: Clock
) -> None:
    session = loaded(reader, token)
    web.redis_cut = True
    newer = web.sessions.rotate(session, ("pwd",))
    assert newer
    clock.tick(store.L / 1000)

    assert reader.load(token) is None
    assert loaded(reader, newer)


@pytest.mark.promise("B2")
def test_an_old_token_does_not_take_the_new_ones_copy_away(
    web: Process, reader: Reader, token: Token, valkey: Valkey
) -> None:
    newer = web.sessions.rotate(loaded(web, token), ("pwd",))
    assert newer
    loaded(reader, newer)

    assert reader.load(token) is None

    reader.asked.clear()
    assert loaded(reader, newer)
    assert reader.asked == ["GET"]


@pytest.mark.promise("R2")
def test_a_rotation_never_brings_back_an_ended_session(
    web: Process, reader: Reader, token: Token, start: Callable[..., Process]
) -> None:
    slow = start()
    session = loaded(slow, token)
    rotation = slow.begin(slow.sessions.rotate, session, ("pwd",)).until("SQL")
    web.sessions.logout(token)

    assert rotation.finish() is None
    assert reader.load(token) is None


@pytest.mark.promise("L1")
def test_a_rotation_and_a_save_at_once_both_hold(web: Process, token: Token, start: Callable[..., Process]) -> None:
    other = start()
    session = loaded(other, token)
    rotation = other.begin(other.sessions.rotate, session, ("pwd",)).until("SQL")
    web.sessions.save(session, {"kept": 1})

    newer = rotation.finish()

    assert loaded(web, newer).data == {"kept": 1}
    assert web.load(token) is None


# -- the user behind it --------------------------------------------------------------------------------------------


def test_changed_roles_are_seen_at_once_in_every_session(web: Process, reader: Reader, user: str) -> None:
    tokens = [web.log_in(user) for _ in range(3)]
    for token in tokens:
        assert loaded(reader, token).roles == ()

    web.accounts.set_roles("anna@example.org", ("admin", "editor"))

    assert [loaded(reader, token).roles for token in tokens] == [("admin", "editor")] * 3


def test_changed_roles_are_seen_within_l_where_redis_did_not_hear_of_them(
    web: Process, reader: Reader, token: Token, clock: Clock
) -> None:
    loaded(reader, token)
    web.redis_cut = True
    web.accounts.set_roles("anna@example.org", ("admin",))
    clock.tick(store.L / 1000)

    assert loaded(reader, token).roles == ("admin",)


def test_the_bridge_sees_what_the_web_has_written(web: Process, token: Token, start: Callable[..., Any]) -> None:
    bridge = start(AsyncProcess)
    saved = web.sessions.save(loaded(web, token), {"umlaut": "ä", "number": 1.5, "big": 2**63 - 1})

    assert loaded(bridge, token) == saved
