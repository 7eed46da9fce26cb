"""The engine and its transactions. A database that does not answer is StorageDown, whatever the driver calls it."""

import select
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from authsvc.core.errors import BadRequest, StorageDown

CONNECT_TIMEOUT = 2  # seconds
STATEMENT_TIMEOUT = 5  # seconds, for a statement and for a lock: the longest transaction of an end
CONNECTIONS = 32  # of a process, all of them kept: those beyond a pool's size would be made anew for each request
OPTIONS = {
    "hide_parameters": True, "pool_size": CONNECTIONS, "max_overflow": 0, "pool_timeout": 2.0, "pool_use_lifo": True,
}  # fmt: skip
IDLE = 5.0  # seconds after which a connection is asked whether it still leads somewhere


class Database:
    """The sync door to SQL. `transaction()` writes, `reading()` does not."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(_driver(url, "psycopg", ""), **_options(url), **OPTIONS)
        _prepare(self.engine)
        self._reading = sessionmaker(self.engine, expire_on_commit=False)
        self._writing = sessionmaker(self.engine.execution_options(authsvc_writes=True), expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with _storage_errors(), self._writing.begin() as sql:
            yield sql

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with _storage_errors(), self._reading.begin() as sql:
            yield sql

    def time(self) -> float:
        """The clock of the SQL server, in unix seconds."""
        clock = "extract(epoch FROM clock_timestamp())"
        clock = "(julianday('now') - 2440587.5) * 86400.0" if self.engine.dialect.name == "sqlite" else clock
        with self.reading() as sql:
            return float(sql.scalar(text(f"SELECT {clock}")))

    def close(self) -> None:
        self.engine.dispose()


class AsyncDatabase:
    """The async door to SQL; it only reads."""

    def __init__(self, url: str) -> None:
        self.engine: AsyncEngine = create_async_engine(
            _driver(url, "psycopg_async", "aiosqlite"), **_options(url), **OPTIONS
        )
        _prepare(self.engine.sync_engine)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        with _storage_errors():
            async with self.engine.begin() as sql:
                yield sql

    async def close(self) -> None:
        await self.engine.dispose()


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except DataError:  # PostgreSQL takes no NUL in a text: an id that somebody has made up
        raise BadRequest from None
    except (DBAPIError, PoolTimeoutError) as error:
        if isinstance(error, DBAPIError) and not _is_outage(error):
            raise
        raise StorageDown from error
    except OSError as error:  # asyncio and psycopg let some connection errors through as they are
        raise StorageDown from error


def _is_outage(error: DBAPIError) -> bool:
    """Whether the database is away, stuck, locked or not migrated, and not our statement wrong."""
    return error.connection_invalidated or type(error.orig).__name__ in (
        "OperationalError", "InterfaceError", "AdminShutdown", "CannotConnectNow", "QueryCanceled", "LockNotAvailable",
        "ConnectionTimeout", "CrashShutdown", "TooManyConnections", "ReadOnlySqlTransaction", "DeadlockDetected",
        "UndefinedTable", "UndefinedColumn",
    )  # fmt: skip


def _driver(url: str, postgresql: str, sqlite: str) -> URL:
    parsed = make_url(url)
    driver = {"postgresql": postgresql, "postgres": postgresql, "sqlite": sqlite}.get(parsed.get_backend_name())
    name = "postgresql" if parsed.get_backend_name() == "postgres" else parsed.get_backend_name()
    return parsed.set(drivername=f"{name}+{driver}" if driver else name)


def _options(url: str) -> dict[str, Any]:
    if make_url(url).get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": STATEMENT_TIMEOUT, "check_same_thread": False}}
    ms = STATEMENT_TIMEOUT * 1000
    return {
        "connect_args": {
            "connect_timeout": CONNECT_TIMEOUT,
            "tcp_user_timeout": ms,
            "options": f"-c statement_timeout={ms} -c lock_timeout={ms} -c idle_in_transaction_session_timeout={ms}",
        },
    }


def _prepare(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_connected)
        event.listen(engine, "begin", _sqlite_begins)
    else:
        event.listen(engine, "do_connect", _postgresql_connects)
        event.listen(engine, "checkin", _comes_back)
        event.listen(engine, "checkout", partial(_goes_out, engine))


def _postgresql_connects(dialect: Any, _record: object, args: Any, kwargs: Any) -> Any:
    from authsvc.postgresql import AsyncConnection, Connection  # noqa: PLC0415 - SQLite needs no psycopg

    if dialect.is_async:
        return dialect.connect(*args, async_creator_fn=AsyncConnection.connect, **kwargs)
    return Connection.connect(*args, **kwargs)


def _comes_back(_connection: object, record: Any) -> None:
    record.info["authsvc_used"] = time.monotonic()


def _goes_out(engine: Engine, connection: Any, record: Any, _proxy: object) -> None:
    """To ask costs more than a statement, so it is done where there is reason to: nothing was heard for long, or the
    server has said something unasked, its farewell most likely. If one leads nowhere, none of them does."""
    if time.monotonic() - record.info.get("authsvc_used", 0) < IDLE and not _has_been_told(record.driver_connection):
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.dbapi.Error as error:  # type: ignore[union-attr]  # it has one
        raise InvalidatePoolError from error


def _has_been_told(connection: Any) -> bool:
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))


def _sqlite_connected(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    cursor = connection.cursor()
    _use_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")  # an acknowledged logout survives a power cut
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """Of several that open a new file at once one switches it, and the busy time-out does not make the others wait."""
    give_up = time.monotonic() + STATEMENT_TIMEOUT
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def _sqlite_begins(connection: Any) -> None:
    """A writer takes its lock at once: one that first reads would fail when it begins to write."""
    writes = connection.get_execution_options().get("authsvc_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
