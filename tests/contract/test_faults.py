"""Real faults of Redis and SQL. A live session goes on or is answered 503, and is never called logged out."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from authsvc import postgresql
from authsvc.core import store
from authsvc.core.crypto import Token
from authsvc.core.errors import StorageDown
from authsvc.core.redis import Breaker
from authsvc.core.session import Session, decode
from tests.contract.conftest import Reader, value_of
from tests.contract.odd_servers import OddServer, Proxy
from tests.contract.schedule import AsyncProcess, Clock, Process
from tests.servers import Valkey

Start = Callable[..., Any]


def goes_on_from_sql(web: Process, reader: Reader, token: Token) -> Session:
    """Everything that a request may do, done while Redis is in the way; returns the session as it is then."""
    session = reader.load(token)
    assert session
    saved = web.sessions.save(session, {"saved": session.version})
    assert saved
    assert reader.load(token) == saved
    return saved


# -- Redis ---------------------------------------------------------------------------------------------------------


@pytest.mark.promise("L2")
def test_redis_restarted_empty(web: Process, reader: Reader, token: Token, valkey: Valkey) -> None:
    """No user pays for a restart of Redis, and no logout after it is answered with 202, though connections have died
    with the server."""
    session = reader.load(token)
    web.load(token)
    valkey.restart()

    assert reader.load(token) == session
    copy = decode(value_of(valkey, token) or b"")
    assert copy
    assert copy.session == session
    assert web.sessions.logout(token).final_by is None


@pytest.mark.promise("L2")
@pytest.mark.promise("R6")
def test_redis_killed(web: Process, reader: Reader, token: Token, valkey: Valkey) -> None:
    reader.load(token)
    web.load(token)
    valkey.kill()

    session = goes_on_from_sql(web, reader, token)
    assert web.sessions.logout(token).final_by
    assert reader.load(token) is None

    assert session.data


@pytest.mark.promise("L2")
def test_redis_stopped(web: Process, reader: Reader, token: Token, valkey: Valkey) -> None:
    reader.load(token)
    web.load(token)
    with valkey.stopped():
        goes_on_from_sql(web, reader, token)
        assert web.sessions.logout(token).final_by
        assert reader.load(token) is None


@pytest.mark.promise("L2")
def test_redis_that_became_a_replica_takes_no_writes_and_is_not_asked_by_new_connections(
    web: Process, token: Token, valkey: Valkey, start: Start
) -> None:
    web.load(token)
    with valkey.client() as client:
        client.replicaof("127.0.0.1", 1)

    assert web.load(token)
    assert web.sessions.logout(token).final_by
    for kind in (Process, AsyncProcess):
        assert start(kind).load(token) is None


@pytest.mark.promise("L2")
def test_redis_that_is_full_ends_nobodys_session(web: Process, reader: Reader, token: Token, valkey: Valkey) -> None:
    with valkey.client() as client:
        client.config_set("maxmemory", 1)

    goes_on_from_sql(web, reader, token)

    assert web.sessions.logout(token).final_by
    assert reader.load(token) is None


@pytest.mark.promise("R6")
def test_a_server_that_does_not_tell_its_run_is_believed_for_l(
    web: Process, reader: Reader, token: Token, valkey: Valkey, clock: Clock
) -> None:
    with valkey.client() as client:
        client.acl_setuser("default", enabled=True, commands=["-info"])
    assert reader.load(token)
    copy = decode(value_of(valkey, token) or b"")
    assert copy
    assert copy.run == bytes(8)
    reader.asked.clear()
    assert reader.load(token)
    assert reader.asked == ["GET"]

    assert web.sessions.logout(token).final_by is None
    assert reader.load(token) is None


@pytest.fixture
def odd_server() -> Iterator[Callable[[bytes], OddServer]]:
    servers: list[OddServer] = []

    def make(answer: bytes) -> OddServer:
        servers.append(OddServer(answer))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.mark.promise("L2")
@pytest.mark.parametrize(
    "answer",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-MOVED 3999 127.0.0.1:6381\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-MASTERDOWN Link with MASTER is down\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-NOPERM no\r\n",
        b"-ERR unknown command\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$5\r\nhel",
        b":1\r\n",
        b"*1\r\n$3\r\nabc\r\n",
    ],
    ids=lambda answer: answer[1:9].strip().decode(),
)
def test_odd_answers_of_redis_do_not_reach_a_user(
    token: Token, start: Start, odd_server: Callable[[bytes], OddServer], answer: bytes
) -> None:
    url = odd_server(answer).url
    web = start(redis_url=url)

    goes_on_from_sql(web, start(AsyncProcess, redis_url=url), token)
    web.sessions.logout(token)

    assert web.load(token) is None


@pytest.mark.promise("L2")
@pytest.mark.parametrize("kind", [Process, AsyncProcess], ids=["sync", "async"])
def test_redis_that_is_silent_costs_a_process_one_time_out_a_second(
    token: Token, start: Start, odd_server: Callable[[bytes], OddServer], kind: type[Reader]
) -> None:
    server, seconds = odd_server(b""), Clock()
    process = start(kind, redis_url=server.url)
    process.store.redis._breaker = Breaker(seconds)
    for tries in (1, 2, 3):
        for _ in range(5):
            assert process.load(token)
        assert len(server.connections) == tries
        seconds.tick(Breaker.PAUSE)


# -- SQL -----------------------------------------------------------------------------------------------------------


@pytest.mark.promise("L3")
def test_without_sql_a_session_in_use_goes_on_for_a_minute_since_its_check(
    reader: Reader, token: Token, clock: Clock
) -> None:
    session = reader.load(token)
    reader.sql_cut = True

    clock.tick(store.G / 1000 - 0.001)
    assert reader.load(token) == session

    clock.tick(0.001)
    with pytest.raises(StorageDown):
        reader.load(token)


@pytest.mark.promise("L3")
def test_without_sql_and_without_a_copy_nobody_is_called_logged_out(reader: Reader, token: Token) -> None:
    reader.sql_cut = True

    with pytest.raises(StorageDown):
        reader.load(token)


@pytest.mark.promise("L3")
def test_without_sql_and_redis_nobody_is_called_logged_out(reader: Reader, token: Token) -> None:
    reader.load(token)
    reader.sql_cut = reader.redis_cut = True

    with pytest.raises(StorageDown):
        reader.load(token)


@pytest.mark.promise("L3")
def test_without_sql_an_earlier_end_stays_final(web: Process, reader: Reader, token: Token) -> None:
    reader.load(token)
    web.sessions.logout(token)
    reader.sql_cut = True

    assert reader.load(token) is None


@pytest.mark.promise("L3")
def test_without_sql_another_secret_is_not_let_in(reader: Reader, token: Token) -> None:
    reader.load(token)
    reader.sql_cut = True

    with pytest.raises(StorageDown):
        reader.load(token._replace(secret=bytes(32)))


@pytest.mark.promise("L3")
def test_without_sql_a_session_in_use_is_not_touched_and_asks_once(web: Process, token: Token, clock: Clock) -> None:
    """A database that is slow to fail is waited for once in a request."""
    web.load(token)
    clock.tick(59)
    web.load(token)
    clock.tick(30)
    web.sql_cut = True
    web.asked.clear()

    assert web.load(token)
    assert web.asked.count("SQL") == 1


@pytest.mark.promise("L3")
def test_a_session_goes_on_when_sql_is_back(web: Process, reader: Reader, token: Token, clock: Clock) -> None:
    reader.load(token)
    reader.sql_cut = True
    clock.tick(3600)
    with pytest.raises(StorageDown):
        reader.load(token)
    reader.sql_cut = False

    assert reader.load(token)


@pytest.fixture
def frozen_sql(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr(postgresql, "ANSWER_TIMEOUT", 0.3)
    url = make_url(postgres_url)
    port = url.port or int(str(url.query.get("port", 5432)))
    folder = url.query.get("host")  # of its socket: the embedded server listens on nothing else
    proxy = Proxy(f"{folder}/.s.PGSQL.{port}" if folder else (url.host or "127.0.0.1", port))
    yield proxy
    proxy.close()


@pytest.mark.promise("L3")
@pytest.mark.parametrize("kind", [Process, AsyncProcess], ids=["sync", "async"])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_sql_that_is_connected_and_silent_counts_as_down(
    kind: type[Reader], start: Start, token: Token, frozen_sql: Proxy, clock: Clock, database_url: str
) -> None:
    url = make_url(database_url).set(host="127.0.0.1", port=frozen_sql.port, query={})
    reader = start(kind, database_url=url.render_as_string(hide_password=False))
    session = reader.load(token)
    clock.tick(store.L / 1000)
    frozen_sql.frozen.set()

    assert reader.load(token) == session
    clock.tick(store.G / 1000)
    with pytest.raises(StorageDown):
        reader.load(token)

    frozen_sql.frozen.clear()
    assert reader.load(token)


@pytest.mark.promise("L3")
@pytest.mark.parametrize("kind", [Process, AsyncProcess], ids=["sync", "async"])
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_sql_that_cuts_every_connection_is_asked_again(
    kind: type[Reader], start: Start, token: Token, database_url: str, valkey: Valkey
) -> None:
    reader = start(kind)
    session = reader.load(token)
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    for _ in range(3):
        with psycopg.connect(database_url) as admin:
            admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        valkey.wipe()

        assert reader.load(token) == session
