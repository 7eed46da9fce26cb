"""Reading a session by its id alone, for a token that carries the id inside our signature. Through both doors."""

from collections.abc import Callable
from typing import Any

import pytest

from authsvc.core import store
from authsvc.core.crypto import Token, new_id, new_token
from authsvc.core.errors import StorageDown
from authsvc.core.session import decode
from authsvc.core.settings import HOUR, MINUTE
from tests.contract.conftest import Reader, every_store, forget, put_back, value_of
from tests.contract.schedule import AsyncProcess, Clock, Process
from tests.servers import Valkey

pytestmark = every_store


def test_it_is_the_session_that_its_cookie_finds(reader: Reader, token: Token) -> None:
    assert reader.load_by_sid(token.sid) == reader.load(token)


def test_a_fresh_copy_costs_one_get_and_no_sql(reader: Reader, token: Token, clock: Clock) -> None:
    first = reader.load_by_sid(token.sid)
    reader.asked.clear()
    clock.tick(store.L / 1000 - 0.001)

    assert reader.load_by_sid(token.sid) == first
    assert reader.asked == ["GET"]
    clock.tick(0.001)
    assert reader.load_by_sid(token.sid) == first
    assert reader.asked == ["GET", "GET", "SQL", "EVAL"]


def test_the_secret_of_a_cookie_is_compared_all_the_same(reader: Reader, token: Token) -> None:
    """Who knows a session's id, which is public, has no cookie by that."""
    assert reader.load_by_sid(token.sid)

    assert reader.load(new_token(token.sid)) is None


@pytest.mark.promise("R1")
def test_an_ended_session_is_refused_and_stays_so_when_its_mark_is_lost(
    web: Process, reader: Reader, token: Token, valkey: Valkey
) -> None:
    assert reader.load_by_sid(token.sid)
    web.sessions.logout(token)
    reader.asked.clear()

    assert reader.load_by_sid(token.sid) is None
    assert reader.asked == ["GET"]
    forget(valkey, token)
    assert reader.load_by_sid(token.sid) is None
    assert value_of(valkey, token) == store.ENDED


@pytest.mark.promise("R2")
def test_a_copy_of_another_run_is_not_believed(
    web: Process, reader: Reader, token: Token, valkey: Valkey, other_valkey: Valkey
) -> None:
    """Redis was restored from an old file, or failed over with lost writes."""
    reader.load_by_sid(token.sid)
    old = value_of(valkey, token)
    web.sessions.logout(token)
    put_back(other_valkey, token, old)
    reader.move_to(other_valkey)

    assert reader.load_by_sid(token.sid) is None


def test_a_session_that_never_was_is_refused(reader: Reader, token: Token) -> None:
    assert reader.load_by_sid(new_id()) is None


def test_a_copy_of_another_session_is_not_believed(
    web: Process, reader: Reader, token: Token, user: str, valkey: Valkey
) -> None:
    other = web.log_in(user)
    reader.load_by_sid(other.sid)
    put_back(valkey, token, value_of(valkey, other))

    found = reader.load_by_sid(token.sid)

    assert found
    assert found.sid == token.sid


def test_while_sql_is_down_a_copy_is_believed_for_a_minute(reader: Reader, token: Token, clock: Clock) -> None:
    session = reader.load_by_sid(token.sid)
    reader.sql_cut = True
    clock.tick(store.G / 1000 - 0.001)
    assert reader.load_by_sid(token.sid) == session

    clock.tick(0.001)
    with pytest.raises(StorageDown):
        reader.load_by_sid(token.sid)


def test_without_redis_sql_answers_and_without_both_nobody_does(reader: Reader, token: Token) -> None:
    session = reader.load_by_sid(token.sid)
    reader.redis_cut = True
    assert reader.load_by_sid(token.sid) == session

    reader.sql_cut = True
    with pytest.raises(StorageDown):
        reader.load_by_sid(token.sid)


@pytest.mark.parametrize("kind", [Process, AsyncProcess], ids=["sync", "async"])
def test_it_does_not_keep_a_session_alive(
    start: Callable[..., Any], kind: type[Any], token: Token, clock: Clock, valkey: Valkey
) -> None:
    reader = start(kind)
    before = reader.load_by_sid(token.sid)
    clock.tick(MINUTE)
    assert reader.load_by_sid(token.sid) == before
    copy = decode(value_of(valkey, token) or b"")
    assert copy
    assert copy.session.seen == before.seen
    clock.tick(8 * HOUR)

    assert reader.load_by_sid(token.sid) is None
