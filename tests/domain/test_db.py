"""Transactions on both databases: writers wait for each other and do not fail, and an outage has one name."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from authsvc import db as database
from authsvc.core.errors import StorageDown
from authsvc.db import AsyncDatabase, Database
from authsvc.models import User
from tests.servers import wait_for

Connect = Callable[[], Database]


class CrashError(Exception):
    """The process dies here."""


@pytest.fixture
def connect(database_url: str) -> Iterator[Connect]:
    """Opens the database of the test, as another process would."""
    opened: list[Database] = []

    def connect() -> Database:
        opened.append(Database(database_url))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


@pytest.fixture
def db(connect: Connect) -> Database:
    return connect()


@pytest.fixture
def nowhere(database_url: str, tmp_path: Path) -> str:
    """The URL of a database of the same kind that is not there."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path}/no such folder/db"
    return f"postgresql://authsvc@127.0.0.1:1/{tmp_path.name}"


def add_user(db: Database, user_id: str = "anna") -> None:
    with db.transaction() as sql:
        sql.add(User(id=user_id, email=user_id, email_key=user_id, name="", roles=[], password="hash", created_at=1))


def epoch_of(db: Database, user_id: str = "anna") -> int | None:
    with db.reading() as sql:
        return sql.scalar(select(User.epoch).where(User.id == user_id))


def count_up(db: Database) -> None:
    """Reads, then writes: a transaction that begins as a reader could not go on when another has written."""
    with db.transaction() as sql:
        sql.scalar(select(User.epoch).where(User.id == "anna"))
        sql.execute(update(User).where(User.id == "anna").values(epoch=User.epoch + 1))


# -- transactions ------------------------------------------------------------------------------------------------------


def test_what_a_transaction_wrote_is_there_for_every_process(connect: Connect) -> None:
    add_user(connect())

    assert epoch_of(connect()) == 0


def test_an_error_undoes_the_whole_transaction(db: Database) -> None:
    add_user(db)

    def write() -> None:
        with db.transaction() as sql:
            sql.execute(update(User).values(epoch=7))
            raise CrashError

    with pytest.raises(CrashError):
        write()

    assert epoch_of(db) == 0


def test_twenty_writers_at_once_all_succeed(db: Database) -> None:
    add_user(db)
    together, errors = threading.Barrier(20), list[Exception]()

    def write() -> None:
        together.wait()
        try:
            count_up(db)
        except (StorageDown, DBAPIError) as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert epoch_of(db) == 20


def test_who_reads_does_not_wait_for_who_writes(connect: Connect) -> None:
    one, other = connect(), connect()
    add_user(one)

    with one.transaction() as sql:
        sql.execute(update(User).values(epoch=7))
        assert epoch_of(other) == 0
    assert epoch_of(other) == 7


def test_a_commit_in_sqlite_survives_a_power_cut(sqlite_url: str) -> None:
    db = Database(sqlite_url)
    with db.reading() as sql:
        pragmas = {name: sql.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")}
    db.close()

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_the_time_is_that_of_the_server_with_fractions_of_a_second(db: Database) -> None:
    times = [db.time() for _ in range(3)]

    assert times == sorted(times)
    assert all(abs(each - time.time()) < 60 for each in times)
    assert any(each % 1 for each in times)


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.promise("L3")
def test_a_database_that_is_not_there_is_down(nowhere: str) -> None:
    db = Database(nowhere)

    with pytest.raises(StorageDown):
        epoch_of(db)
    with pytest.raises(StorageDown):
        add_user(db)
    db.close()


@pytest.mark.promise("L3")
async def test_through_the_async_door_it_is_down_too(nowhere: str) -> None:
    db = AsyncDatabase(nowhere)

    with pytest.raises(StorageDown):
        async with db.reading():
            pytest.fail("there is nothing to read")
    await db.close()
    await asyncio.to_thread(wait_for, no_sqlite_thread)


def no_sqlite_thread() -> bool:
    """After a failed connect aiosqlite's thread still reports to the loop, which must not be closed by then."""
    return not any("_connection_worker_thread" in thread.name for thread in threading.enumerate())


async def test_the_async_door_reads_what_the_sync_one_wrote(database_url: str, db: Database) -> None:
    add_user(db)
    reader = AsyncDatabase(database_url)

    async with reader.reading() as sql:
        assert await sql.scalar(select(User.epoch)) == 0
    await reader.close()


def test_who_waits_too_long_for_a_lock_is_told_that_it_is_down(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = connect()
    add_user(one)
    monkeypatch.setattr(database, "STATEMENT_TIMEOUT", 1)
    other = connect()

    with one.transaction() as sql:
        sql.execute(update(User).values(epoch=7))
        with pytest.raises(StorageDown):
            count_up(other)

    count_up(other)
    assert epoch_of(one) == 8


def test_when_every_connection_is_in_use_it_is_down(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "OPTIONS", {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.01})
    db = connect()
    add_user(db)

    with db.reading() as sql:
        sql.scalar(select(User.epoch))
        with pytest.raises(StorageDown):
            epoch_of(db)

    assert epoch_of(db) == 0


only_with_a_server = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@only_with_a_server
@pytest.mark.promise("L3")
def test_a_connection_that_dies_in_a_transaction_is_an_outage_and_the_next_one_works(
    connect: Connect,
) -> None:
    one, other = connect(), connect()
    add_user(one)

    def write() -> None:
        with one.transaction() as sql:
            sql.execute(update(User).values(epoch=7))
            end_backend(other, sql.scalar(text("SELECT pg_backend_pid()")))
            sql.execute(update(User).values(epoch=8))

    with pytest.raises(StorageDown):
        write()

    assert epoch_of(one) == 0


@only_with_a_server
def test_connections_that_died_in_the_pool_are_replaced_unseen(connect: Connect) -> None:
    one, other = connect(), connect()
    add_user(one)
    with one.reading() as sql:
        pid = sql.scalar(text("SELECT pg_backend_pid()"))
    end_backend(other, pid)

    assert epoch_of(one) == 0


def end_backend(db: Database, pid: int | None) -> None:
    """Returns when the server process of a connection is gone."""
    with db.reading() as sql:
        assert sql.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def test_a_row_that_exists_already_is_not_an_outage(db: Database) -> None:
    add_user(db)

    with pytest.raises(IntegrityError):
        add_user(db)


def test_a_statement_of_ours_that_is_wrong_is_not_an_outage(db: Database) -> None:
    with pytest.raises(DBAPIError) as error, db.reading() as sql:
        sql.execute(text("SELECT :value"), {"value": object()})

    assert isinstance(error.value.orig, Exception)
    assert "ProgrammingError" in type(error.value.orig).__name__


def test_a_database_without_our_tables_is_down(db: Database) -> None:
    with pytest.raises(StorageDown), db.reading() as sql:
        sql.execute(text("SELECT * FROM no_such_table"))
    with pytest.raises(StorageDown), db.reading() as sql:
        sql.execute(text("SELECT no_such_column FROM users"))


@pytest.mark.promise("B7")
def test_an_error_does_not_repeat_the_parameters_of_its_statement(db: Database) -> None:
    with pytest.raises(StorageDown) as error, db.reading() as sql:
        sql.execute(text("SELECT :value FROM no_such_table"), {"value": "canary"})

    cause = str(error.value.__cause__)
    assert "no_such_table" in cause
    assert "canary" not in cause + str(error.value)
