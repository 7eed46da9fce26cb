"""Ending sessions: one, the others, all; what is answered while Redis is away, and when that becomes final."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from authsvc.core import events, store
from authsvc.core.crypto import Token, new_token
from authsvc.core.errors import InvalidCredentials, NotFound, StorageDown
from authsvc.domain.sessions import Ending
from authsvc.models import Event
from tests.contract.conftest import Reader, every_store, forget, value_of
from tests.contract.schedule import Clock, Process
from tests.servers import Valkey

pytestmark = pytest.mark.promise("R1")

pytestmark = every_store


def facts(process: Process, name: str = events.SESSION_ENDED) -> int:
    with process.db.reading() as sql:
        return sql.scalar(select(func.count()).select_from(Event).where(Event.name == name)) or 0


def test_a_logout_is_final_at_once_for_everybody(web: Process, reader: Reader, token: Token, valkey: Valkey) -> None:
    assert reader.load(token)

    assert web.sessions.logout(token) == Ending(1)

    assert reader.load(token) is None
    assert value_of(valkey, token) == store.ENDED


def test_a_logout_leaves_the_other_sessions_alone(web: Process, reader: Reader, token: Token, user: str) -> None:
    other = web.log_in(user)

    web.sessions.logout(token)

    assert reader.load(other)
    assert [listed.sid for listed in web.sessions.of_user(user)] == [other.sid]


def test_a_logout_with_a_token_that_a_rotation_has_replaced_ends_the_session(
    web: Process, reader: Reader, token: Token
) -> None:
    session = web.load(token)
    assert session
    newer = web.sessions.rotate(session, ("pwd",))
    assert newer

    assert web.sessions.logout(token) == Ending(1)

    assert reader.load(newer) is None


def test_a_repeated_logout_is_whole_and_leaves_one_fact(
    web: Process, reader: Reader, token: Token, valkey: Valkey
) -> None:
    web.sessions.logout(token)
    forget(valkey, token)

    assert web.sessions.logout(token) == Ending(1)

    assert value_of(valkey, token) == store.ENDED
    assert facts(web) == 1


def test_a_logout_of_a_session_that_never_was_ends_nothing(web: Process) -> None:
    assert web.sessions.logout(new_token()) == Ending(0)
    assert facts(web) == 0


def test_a_user_ends_only_sessions_that_are_their_own(web: Process, reader: Reader, token: Token, user: str) -> None:
    stranger = web.new_user("eve@example.org")

    with pytest.raises(NotFound):
        web.sessions.end(token.sid, user_id=stranger)
    with pytest.raises(NotFound):
        web.sessions.end(new_token().sid, user_id=user)

    assert reader.load(token)
    assert web.sessions.end(token.sid, user_id=user) == Ending(1)
    assert reader.load(token) is None


def test_a_login_ends_the_session_before_it(web: Process, reader: Reader, token: Token, user: str) -> None:
    assert reader.load(token)

    newer = web.log_in(user, replacing=token)

    assert reader.load(token) is None
    assert reader.load(newer)


@pytest.mark.promise("R7")
def test_end_others_ends_all_but_one(web: Process, reader: Reader, token: Token, user: str) -> None:
    others = [web.log_in(user) for _ in range(4)]
    stranger = web.log_in(web.new_user("eve@example.org"))
    for each in (token, *others, stranger):
        assert reader.load(each)

    assert web.sessions.end_others(user, token.sid) == Ending(4)

    assert [reader.load(other) for other in others] == [None] * 4
    assert reader.load(token)
    assert reader.load(stranger)


@pytest.mark.promise("R7")
def test_end_all_ends_exactly_the_sessions_that_were_alive(web: Process, reader: Reader, user: str) -> None:
    tokens = [web.log_in(user) for _ in range(5)]
    web.sessions.logout(tokens[0])
    stranger = web.log_in(web.new_user("eve@example.org"))
    for each in (*tokens[1:], stranger):
        assert reader.load(each)

    assert web.sessions.end_all(user) == Ending(4)

    assert [reader.load(token) for token in tokens] == [None] * 5
    assert reader.load(stranger)
    assert web.sessions.end_all(user) == Ending(0)


@pytest.mark.promise("R7")
def test_end_all_of_more_sessions_than_are_told_to_redis_at_once(
    web: Process, reader: Reader, user: str, valkey: Valkey
) -> None:
    tokens = [web.log_in(user) for _ in range(store.ANNOUNCED_AT_ONCE + 3)]

    assert web.sessions.end_all(user) == Ending(len(tokens))

    assert {value_of(valkey, token) for token in tokens} == {store.ENDED}
    assert reader.load(tokens[-1]) is None


@pytest.mark.promise("R7")
@pytest.mark.parametrize("how", ["end_all", "end_others", "disable"])
def test_who_ends_all_also_ends_what_a_killed_process_has_begun_to_end(
    web: Process, reader: Reader, token: Token, user: str, start: Callable[..., Process], how: str
) -> None:
    assert reader.load(token)
    dying = start()
    dying.begin(dying.sessions.logout, token).until("SQL done").kill()
    end = {
        "end_all": lambda: web.sessions.end_all(user),
        "end_others": lambda: web.sessions.end_others(user, "another"),
        "disable": lambda: web.accounts.disable("anna@example.org"),
    }

    assert end[how]() == Ending(0)

    assert reader.load(token) is None


@pytest.mark.promise("R7")
def test_who_ends_all_without_redis_says_when_what_others_have_begun_is_final_too(
    web: Process, token: Token, user: str, start: Callable[..., Process], clock: Clock
) -> None:
    dying = start()
    dying.begin(dying.sessions.logout, token).until("SQL done").kill()
    final_by = int(clock.now) + store.FINAL
    web.redis_cut = True
    clock.tick(30)

    assert web.sessions.end_all(user) == Ending(0, final_by)

    clock.tick(store.FINAL)
    assert web.sessions.end_all(user) == Ending(0)


@pytest.mark.promise("R4")
def test_end_all_refuses_a_login_whose_password_was_checked_before(
    web: Process, user: str, start: Callable[..., Process]
) -> None:
    slow = start()
    login = slow.begin(slow.log_in, user).until("SQL")
    web.sessions.end_all(user)

    with pytest.raises(InvalidCredentials):
        login.finish()
    assert web.sessions.of_user(user) == []


@pytest.mark.promise("R7")
def test_a_disabled_user_has_no_session_and_gets_none(web: Process, reader: Reader, token: Token, user: str) -> None:
    assert reader.load(token)

    assert web.accounts.disable("anna@example.org") == Ending(1)

    assert reader.load(token) is None
    credentials = web.accounts.known("anna@example.org").account
    assert credentials
    with pytest.raises(InvalidCredentials):
        web.log_in(user, epoch=credentials.epoch)


# -- while a part is away ------------------------------------------------------------------------------------------


@pytest.mark.promise("R6")
def test_without_redis_a_logout_says_by_when_it_is_final(web: Process, token: Token, clock: Clock) -> None:
    web.redis_cut = True

    assert web.sessions.logout(token) == Ending(1, int(clock.now) + store.FINAL)
    assert web.load(token) is None


@pytest.mark.promise("R6")
def test_the_time_by_which_an_end_is_final_counts_from_the_first_try(web: Process, token: Token, clock: Clock) -> None:
    web.redis_cut = True
    first = web.sessions.logout(token)

    clock.tick(store.FINAL)
    assert web.sessions.logout(token) == first

    clock.tick(1)
    assert web.sessions.logout(token) == Ending(1)


@pytest.mark.promise("R6")
def test_a_repeat_is_final_once_the_relay_has_delivered(
    web: Process, token: Token, start: Callable[..., Process]
) -> None:
    web.redis_cut = True
    assert web.sessions.logout(token).final_by

    assert start().outbox.relay() >= 1

    assert web.sessions.logout(token) == Ending(1)


@pytest.mark.promise("R6")
def test_the_relay_ends_for_everybody_what_its_process_could_not(
    web: Process, reader: Reader, token: Token, start: Callable[..., Process]
) -> None:
    assert reader.load(token)
    web.redis_cut = True
    web.sessions.logout(token)
    assert reader.load(token)

    start().outbox.relay()

    assert reader.load(token) is None


@pytest.mark.promise("R6")
def test_without_redis_end_all_says_by_when_it_is_final(web: Process, user: str, clock: Clock) -> None:
    tokens = [web.log_in(user) for _ in range(3)]
    web.redis_cut = True

    assert web.sessions.end_all(user) == Ending(3, int(clock.now) + store.FINAL)
    assert [web.load(token) for token in tokens] == [None] * 3


def test_an_end_without_sql_is_no_end(web: Process, reader: Reader, token: Token) -> None:
    web.sql_cut = True

    with pytest.raises(StorageDown):
        web.sessions.logout(token)

    assert reader.load(token)


def test_an_end_that_redis_has_heard_of_is_final_though_sql_fails_then(
    web: Process, reader: Reader, token: Token, start: Callable[..., Process]
) -> None:
    logout = web.begin(web.sessions.logout, token).until("SET done")
    web.sql_cut = True

    assert logout.finish() == Ending(1)

    assert reader.load(token) is None
    assert start().outbox.relay() >= 1
