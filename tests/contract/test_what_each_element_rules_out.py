"""Each element of the session protocol is there because without it one particular schedule breaks a promise.

Here are those schedules, one test each, in the order of the table in docs/sessions.md. docs/mutations.md tells which of
them went red when the element was taken out.
"""

from collections.abc import Callable
from typing import Any

import pytest

from authsvc.core import store
from authsvc.core.crypto import Token
from authsvc.core.errors import InvalidCredentials, StorageDown
from tests.contract.conftest import Reader, put_back, value_of
from tests.contract.schedule import AsyncProcess, Clock, Process
from tests.servers import Valkey

LATER = store.L / 1000 + 1  # seconds after which a copy is checked again
FINAL = store.FINAL + 1
pytestmark = [pytest.mark.promise("R1"), pytest.mark.promise("R2"), pytest.mark.promise("R6")]


def accepted(reader: Reader, token: Token) -> bool:
    """Whether this process lets the token in. When it cannot tell, it does not."""
    try:
        return reader.load(token) is not None
    except StorageDown:
        return False


def fail_over(server: Valkey, token: Token, older: bytes | None) -> None:
    """The server dies, and another run takes over with what it had of the key some time ago."""
    server.restart()
    put_back(server, token, older)


def test_run_in_the_stamp_rules_out_a_copy_from_before_a_failover(
    web: Process, reader: Reader, token: Token, valkey: Valkey
) -> None:
    assert accepted(reader, token)
    older = value_of(valkey, token)
    assert web.sessions.logout(token).final_by is None

    fail_over(valkey, token, older)

    assert value_of(valkey, token) == older
    assert not accepted(reader, token)


def test_run_taken_before_the_sql_statement_rules_out_old_news_under_the_new_run(
    web: Process, reader: Reader, token: Token, valkey: Valkey, clock: Clock
) -> None:
    assert accepted(reader, token)
    older = value_of(valkey, token)
    clock.tick(LATER)
    slow = reader.begin_load(token).until("SQL done")
    assert web.sessions.logout(token).final_by is None
    fail_over(valkey, token, older)

    slow.finish()

    assert not accepted(reader, token)


def test_checked_in_the_stamp_rules_out_a_copy_that_is_believed_for_hours(
    web: Process, reader: Reader, token: Token, clock: Clock
) -> None:
    assert accepted(reader, token)
    web.redis_cut = True
    assert web.sessions.logout(token).final_by
    clock.tick(FINAL)
    assert web.sessions.logout(token).final_by is None

    assert not accepted(reader, token)


def test_checked_taken_before_the_sql_statement_rules_out_old_news_with_the_time_of_now(
    web: Process, reader: Reader, token: Token, clock: Clock
) -> None:
    slow = reader.begin_load(token).until("SQL done")
    web.redis_cut = True
    assert web.sessions.logout(token).final_by
    clock.tick(FINAL)
    assert web.sessions.logout(token).final_by is None

    slow.finish()

    assert not accepted(reader, token)


def test_cas_on_the_bytes_seen_rules_out_a_slow_renewal_over_ended(
    web: Process, reader: Reader, token: Token, clock: Clock
) -> None:
    assert accepted(reader, token)
    clock.tick(LATER)
    slow = reader.begin_load(token).until("SQL done")
    assert web.sessions.logout(token).final_by is None

    slow.finish()

    assert not accepted(reader, token)


def test_mark_before_a_fill_rules_out_a_late_fill_after_a_wipe(
    web: Process, reader: Reader, token: Token, valkey: Valkey
) -> None:
    slow = reader.begin_load(token).until("SQL done")
    assert web.sessions.logout(token).final_by is None
    valkey.wipe()

    slow.finish()

    assert not accepted(reader, token)


@pytest.mark.parametrize("kind", [Process, AsyncProcess], ids=["sync", "async"])
def test_unique_mark_rules_out_that_anothers_mark_lets_the_late_fill_through(
    web: Process, reader: Reader, token: Token, valkey: Valkey, start: Callable[..., Any], kind: type[Reader]
) -> None:
    slow = reader.begin_load(token).until("SQL done")
    assert web.sessions.logout(token).final_by is None
    valkey.wipe()
    other = start(kind).begin_load(token).until("SET done")

    slow.finish()

    assert not accepted(reader, token)
    assert other.finish() is None


def test_202_until_confirmed_rules_out_that_an_end_is_acknowledged_while_others_accept(
    web: Process, reader: Reader, token: Token, clock: Clock
) -> None:
    assert accepted(reader, token)
    web.redis_cut = True

    ending = web.sessions.logout(token)

    assert accepted(reader, token)
    assert ending.final_by == clock.now + store.FINAL
    web.redis_cut = False
    assert web.sessions.logout(token).final_by is None
    assert not accepted(reader, token)


def test_f_longer_than_g_rules_out_that_a_reader_without_sql_accepts_a_final_end(
    web: Process, reader: Reader, token: Token, clock: Clock
) -> None:
    assert accepted(reader, token)
    web.redis_cut = reader.sql_cut = True
    assert web.sessions.logout(token).final_by
    accepting = 0
    while web.sessions.logout(token).final_by:
        accepting += accepted(reader, token)
        clock.tick(1)

    assert accepting == store.G / 1000
    assert not accepted(reader, token)


def test_end_whole_on_a_repeat_rules_out_that_a_killed_logout_is_never_told_to_redis(
    web: Process, reader: Reader, token: Token, start: Callable[..., Process]
) -> None:
    assert accepted(reader, token)
    dying = start()
    dying.begin(dying.sessions.logout, token).until("SQL done").kill()

    assert web.sessions.logout(token).final_by is None

    assert not accepted(reader, token)


def test_same_run_while_sql_is_down_rules_out_a_copy_from_before_a_failover(
    web: Process, reader: Reader, token: Token, valkey: Valkey
) -> None:
    assert accepted(reader, token)
    older = value_of(valkey, token)
    assert web.sessions.logout(token).final_by is None
    fail_over(valkey, token, older)
    reader.sql_cut = True

    with pytest.raises(StorageDown):
        reader.load(token)


def test_g_counted_from_checked_rules_out_that_a_reader_who_loses_sql_accepts_a_final_end(
    web: Process, reader: Reader, token: Token, clock: Clock
) -> None:
    assert accepted(reader, token)
    web.redis_cut = True
    assert web.sessions.logout(token).final_by
    clock.tick(FINAL)
    assert web.sessions.logout(token).final_by is None
    reader.sql_cut = True

    with pytest.raises(StorageDown):
        reader.load(token)


def test_the_age_for_g_is_that_of_the_moment_when_sql_has_failed(
    web: Process, reader: Reader, token: Token, clock: Clock
) -> None:
    """The row above, for a database that is slow to fail."""
    assert accepted(reader, token)
    clock.tick(store.G / 1000 - 1)
    slow = reader.begin_load(token).until("SQL")
    clock.tick(8)
    reader.sql_cut = True

    with pytest.raises(StorageDown):
        slow.finish()


def test_one_key_per_session_rules_out_a_copy_under_an_old_token(
    web: Process, reader: Reader, token: Token, valkey: Valkey
) -> None:
    session = reader.load(token)
    assert session
    newer = web.sessions.rotate(session, ("pwd",))
    assert newer
    assert accepted(reader, newer)
    with valkey.client() as client:
        assert client.keys("authsvc:session:*") == [store.key_of(token.sid).encode()]

    assert web.sessions.logout(newer).final_by is None

    assert not accepted(reader, token)
    assert not accepted(reader, newer)


def test_sql_asked_when_the_hash_differs_rules_out_that_a_new_token_is_refused(
    web: Process, reader: Reader, token: Token
) -> None:
    session = reader.load(token)
    assert session
    web.redis_cut = True
    newer = web.sessions.rotate(session, ("pwd",))
    assert newer

    assert accepted(reader, newer)
    assert not accepted(reader, token)


def test_version_in_the_update_rules_out_that_of_two_saves_the_first_is_lost(
    web: Process, reader: Reader, token: Token, start: Callable[..., Process]
) -> None:
    first, second = web.load(token), start().load(token)
    assert first
    assert second

    web.sessions.save(first, {"first": 1})
    web.sessions.save(second, {"second": 2})

    session = reader.load(token)
    assert session
    assert session.data == {"first": 1, "second": 2}


def test_data_in_sql_rules_out_that_a_wipe_loses_an_acknowledged_write(
    web: Process, reader: Reader, token: Token, valkey: Valkey
) -> None:
    session = web.load(token)
    assert session
    assert web.sessions.save(session, {"kept": 1})

    valkey.wipe()

    session = reader.load(token)
    assert session
    assert session.data == {"kept": 1}


def test_create_that_writes_no_copy_rules_out_that_a_late_one_survives_end_all(
    web: Process, reader: Reader, user: str, valkey: Valkey, start: Callable[..., Process]
) -> None:
    process = start()
    login = process.begin(process.log_in, user).until("SQL done")
    assert web.sessions.end_all(user).count == 1
    valkey.wipe()

    token = login.finish()

    assert value_of(valkey, token) is None
    assert not accepted(reader, token)


def test_epoch_checked_by_create_rules_out_a_login_that_survives_end_all(
    web: Process, user: str, start: Callable[..., Process]
) -> None:
    credentials = web.accounts.known("anna@example.org").account
    assert credentials
    assert start().sessions.end_all(user).final_by is None

    with pytest.raises(InvalidCredentials):
        web.log_in(user, epoch=credentials.epoch)

    assert web.sessions.of_user(user) == []
