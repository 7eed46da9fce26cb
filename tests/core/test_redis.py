"""The two doors to Redis: the run of each connection, a bounded pool, bounded waits, a breaker, and no answer that is
another caller's."""

import asyncio
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from authsvc.core import redis
from authsvc.core.errors import RedisDown
from authsvc.core.redis import JUST_USED, POOL_SIZE, UNKNOWN_RUN, AsyncRedis, Breaker, Reply, SyncRedis, run_of
from tests.core.conftest import Connect
from tests.servers import Valkey, free_port, missing, wait_for

NOWHERE = "unix:///nonexistent.sock"


def connections(server: Valkey) -> int:
    with server.client() as client:
        return len(client.client_list()) - 1


# -- the run -----------------------------------------------------------------------------------------------------------


def test_the_run_is_that_of_the_server_and_the_same_for_everybody(connect: Connect, valkey: Valkey) -> None:
    first, second = connect(valkey.url), connect(valkey.url)

    runs = {first.execute(("PING",)).run, first.execute(("PING",)).run, second.execute(("PING",)).run}

    assert len(runs) == 1
    assert len(run := runs.pop()) == 8
    assert run != UNKNOWN_RUN


def test_a_restart_changes_the_run(connect: Connect, valkey: Valkey) -> None:
    door = connect(valkey.url)
    before = door.execute(("PING",)).run

    valkey.restart()

    assert door.execute(("PING",)).run != before


def test_a_promotion_changes_the_run(connect: Connect, valkey: Valkey) -> None:
    before = connect(valkey.url).execute(("PING",)).run
    with valkey.client() as client:
        client.replicaof("127.0.0.1", 1)
        client.replicaof("NO", "ONE")

    assert connect(valkey.url).execute(("PING",)).run != before


def test_an_open_connection_keeps_its_run(connect: Connect, valkey: Valkey) -> None:
    """A promotion in between: whoever was connected before does not take old copies for checked on the new run."""
    door = connect(valkey.url)
    before = door.execute(("PING",)).run
    with valkey.client() as client:
        client.replicaof("127.0.0.1", 1)
        client.replicaof("NO", "ONE")

    after = door.execute(("PING",)).run

    assert after in (before, connect(valkey.url).execute(("PING",)).run)


def test_a_replica_is_refused(connect: Connect, valkey: Valkey) -> None:
    with valkey.client() as client:
        client.replicaof("127.0.0.1", 1)

    with pytest.raises(RedisDown):
        connect(valkey.url).execute(("GET", "key"))


def test_a_server_that_forbids_info_has_no_run(connect: Connect, valkey: Valkey) -> None:
    with valkey.client() as client:
        client.acl_setuser("default", enabled=True, commands=["-info"])

    assert connect(valkey.url).execute(("PING",)) == Reply([b"PONG"], UNKNOWN_RUN)


def test_a_password_and_a_database_in_the_url_are_used(connect: Connect, valkey: Valkey) -> None:
    with valkey.client() as client:
        client.acl_setuser("app", enabled=True, passwords=["+secret"], categories=["+@all"], keys=["*"])
        client.execute_command("SELECT", 3)

    url = f"unix://app:secret@{valkey.socket}?db=3"
    assert connect(url).execute(("SET", "key", "1"), ("GET", "key")).values == [b"OK", b"1"]
    assert connect(valkey.url).execute(("GET", "key")).values == [None]


RUN_ID, REPLID = b"run_id:abc\r\n", b"master_replid:def\r\n"


def test_the_run_depends_on_both_ids() -> None:
    runs = {
        run_of([b"run_id:%d\r\n" % run, b"role:master\r\nmaster_replid:%d\r\n" % replid])
        for run in range(2)
        for replid in range(2)
    }
    assert len(runs) == 4


@pytest.mark.parametrize("answers", [[b"", b""], [RUN_ID, b"role:master\r\n"], [b"# odd", REPLID]])
def test_an_answer_without_ids_is_no_run(answers: list[bytes]) -> None:
    assert run_of(answers) == UNKNOWN_RUN
    assert run_of([ResponseError("NOPERM"), *answers]) == UNKNOWN_RUN


@pytest.mark.parametrize("role", [b"slave", b"replica", b"sentinel", b""])
def test_only_a_master_may_answer(role: bytes) -> None:
    with pytest.raises(RedisConnectionError, match="not a master"):
        run_of([RUN_ID, b"role:" + role + b"\r\n" + REPLID])


# -- failures ----------------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_down(connect: Connect) -> None:
    with pytest.raises(RedisDown):
        connect(NOWHERE).execute(("PING",))


def test_an_error_closes_the_connection_and_the_next_command_has_another(connect: Connect, valkey: Valkey) -> None:
    door = connect(valkey.url)
    door.execute(("SET", "key", "text"))

    with pytest.raises(RedisDown):
        door.execute(("LPUSH", "key", "x"), ("GET", "key"))

    assert door.execute(("GET", "key")).values == [b"text"]
    assert connections(valkey) == 1


def test_a_connection_that_the_server_has_closed_is_replaced_unseen(connect: Connect, valkey: Valkey) -> None:
    door = connect(valkey.url)
    for _ in range(3):
        door.execute(("PING",))
        with valkey.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)

        time.sleep(JUST_USED)
        assert door.execute(("PING",)).values == [b"PONG"]


def test_one_thread_uses_one_connection(connect: Connect, valkey: Valkey) -> None:
    door = connect(valkey.url)
    for _ in range(50):
        door.execute(("PING",))

    assert connections(valkey) == 1


def test_many_threads_share_a_bounded_pool(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "TIMEOUT", 60)  # that each gets its own answer is asked here, not how soon
    door, together = SyncRedis(valkey.url), threading.Barrier(POOL_SIZE + 36)
    wrong: list[object] = []

    def ask(number: int) -> None:
        together.wait()
        for _ in range(20):
            answer = door.execute(("ECHO", number)).values
            if answer != [str(number).encode()]:
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert 1 < connections(valkey) <= POOL_SIZE
    door.close()
    assert connections(valkey) == 0


def test_a_full_pool_is_waited_for_and_then_given_up(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "POOL_SIZE", 1)
    door = SyncRedis(valkey.url)
    door._places.get()
    with pytest.raises(RedisDown):
        door.execute(("PING",))

    door._places.put(None)
    assert door.execute(("PING",)).values == [b"PONG"]  # at once: the server is well, so the breaker stayed closed
    door.close()


def test_a_silent_server_is_given_up(connect: Connect, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        door = connect(f"unix://{tmp_path / 'silent.sock'}")

        with pytest.raises(RedisDown):
            door.execute(("PING",))

        assert is_open(door.door._breaker)


# -- the breaker -------------------------------------------------------------------------------------------------------


class Seconds:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def is_open(breaker: Breaker) -> bool:
    try:
        breaker.check()
    except RedisDown:
        return True
    return False


def test_the_breaker_opens_after_three_failures_in_a_row() -> None:
    breaker = Breaker(Seconds())
    states = []
    for _ in range(3):
        breaker.failed(RedisConnectionError())
        states.append(is_open(breaker))

    assert states == [False, False, True]


def test_a_success_in_between_keeps_the_breaker_closed() -> None:
    breaker = Breaker(Seconds())
    for _ in range(5):
        breaker.failed(RedisConnectionError())
        breaker.failed(RedisConnectionError())
        breaker.succeeded()

    assert not is_open(breaker)


@pytest.mark.parametrize("error", [RedisTimeoutError(), TimeoutError()])
def test_the_breaker_opens_after_one_time_out(error: Exception) -> None:
    breaker = Breaker(Seconds())
    breaker.failed(error)

    assert is_open(breaker)


def test_after_a_second_one_tries_and_decides_for_all() -> None:
    seconds = Seconds()
    breaker = Breaker(seconds)
    breaker.failed(TimeoutError())
    seconds.now += Breaker.PAUSE

    assert [is_open(breaker) for _ in range(3)] == [False, True, True]

    breaker.failed(RedisConnectionError())
    seconds.now += Breaker.PAUSE - 0.001
    assert is_open(breaker)
    seconds.now += 0.001
    assert not is_open(breaker)
    breaker.succeeded()
    assert not is_open(breaker)


def test_an_open_breaker_asks_nobody(connect: Connect, valkey: Valkey) -> None:
    door = connect(valkey.url)
    door.door._breaker = Breaker(Seconds())
    door.door._breaker.failed(TimeoutError())

    with pytest.raises(RedisDown):
        door.execute(("SET", "key", "1"))

    with valkey.client() as client:
        assert client.get("key") is None


# -- cancellation ------------------------------------------------------------------------------------------------------


async def test_a_cancelled_command_never_answers_another_caller(valkey: Valkey) -> None:
    door, chance = AsyncRedis(valkey.url), random.Random(7)
    with valkey.client() as client:
        client.mset({f"key {number}": f"value {number}" for number in range(500)})
    cancelled = answered = 0

    async def ask(number: int) -> None:
        assert (await door.execute(("GET", f"key {number}"))).values == [f"value {number}".encode()]

    while cancelled < 500:
        tasks = [asyncio.create_task(ask(chance.randrange(500))) for _ in range(10)]
        for task in tasks[::2]:
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            cancelled += task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        # a pause of the machine may cost an answer, and never gives a wrong one
        assert {type(answer) for answer in answers} <= {type(None), asyncio.CancelledError, RedisDown}
        answered += answers.count(None)

    assert answered > 500
    assert door._places._value == POOL_SIZE
    await door.close()


async def test_a_caller_that_is_cancelled_while_it_waits_gives_its_place_back(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "POOL_SIZE", 1)
    door = AsyncRedis(valkey.url)
    first = asyncio.create_task(door.execute(("BLPOP", "nothing", 0.1)))
    second = asyncio.create_task(door.execute(("PING",)))
    await asyncio.sleep(0.01)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)

    assert (await door.execute(("PING",))).values == [b"PONG"]
    await door.close()


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[str]:
    """A Redis server that speaks TLS alone; its URL, with the certificate that it is to be known by."""
    for program in ("redis-server", "openssl"):
        if not shutil.which(program):
            missing(program)
    key, certificate, port = tmp_path / "key.pem", tmp_path / "certificate.pem", free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate),
         "-days", "1", "-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    server = subprocess.Popen(
        ["redis-server", "--port", "0", "--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file",
         str(key), "--tls-auth-clients", "no", "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close() is None)
        yield f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
    finally:
        server.kill()
        server.wait()


def test_a_server_behind_tls_is_used_and_its_silence_is_bounded(connect: Connect, tls_server: str) -> None:
    door = connect(tls_server)

    assert door.execute(("SET", "key", "value"), ("GET", "key")).values == [b"OK", b"value"]

    with pytest.raises(RedisDown):
        door.execute(("BLPOP", "nothing", 5))


def test_a_server_with_an_unknown_certificate_is_not_used(connect: Connect, tls_server: str) -> None:
    with pytest.raises(RedisDown):
        connect(tls_server.partition("?")[0]).execute(("PING",))
