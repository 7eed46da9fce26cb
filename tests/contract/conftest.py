"""Processes that share one Redis, one database and one clock, and a reader through each of the two doors."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from authsvc.core import store
from authsvc.core.crypto import Token
from authsvc.core.settings import Settings
from tests.contract.schedule import AsyncProcess, Clock, Process
from tests.redis_sets import Cluster, Sentinels
from tests.servers import Valkey

Reader = Process | AsyncProcess

STORES = [("sqlite", "single"), ("postgresql", "single"), ("sqlite", "cluster"), ("sqlite", "sentinels")]
every_store = pytest.mark.parametrize(("database_url", "valkey"), STORES, indirect=True)


@pytest.fixture
def valkey(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Valkey | Sentinels | Cluster]:
    kind = getattr(request, "param", "single")
    if kind != "single":
        shared = request.getfixturevalue(kind)
        shared.wipe()
        yield shared
        return
    server = Valkey(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(settings: Settings, clock: Clock) -> Iterator[Callable[..., Any]]:
    """Starts a process of a kind."""
    running: list[Reader] = []

    def start(kind: type[Any] = Process, clock: Callable[[], float] = clock, **changes: Any) -> Any:
        running.append(kind(settings.model_copy(update=changes), clock))
        return running[-1]

    yield start
    for process in running:
        process.close()


@pytest.fixture
def web(start: Callable[..., Process]) -> Process:
    """A process that may do everything."""
    return start()


@pytest.fixture(params=[Process, AsyncProcess], ids=["sync", "async"])
def reader(request: pytest.FixtureRequest, start: Callable[..., Any]) -> Any:
    """Another process, which loads: a web process, then a bridge."""
    return start(request.param)


@pytest.fixture
def user(web: Process) -> str:
    return web.new_user()


@pytest.fixture
def token(web: Process, user: str) -> Token:
    return web.log_in(user)


@pytest.fixture
def other_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A second server, with a run of its own."""
    server = Valkey(tmp_path)
    yield server
    server.kill()


def value_of(server: Valkey, token: Token) -> bytes | None:
    """What lies under the session's key."""
    with server.client() as client:
        value: bytes | None = client.get(store.key_of(token.sid))
        return value


def put_back(server: Valkey, token: Token, value: bytes | None) -> None:
    """Make that the content of the session's key, as a server has it that was restored from an old file."""
    with server.client() as client:
        client.delete(store.key_of(token.sid))
        if value is not None:
            client.set(store.key_of(token.sid), value)


def forget(server: Valkey, token: Token) -> None:
    """The key is lost: evicted, expired."""
    put_back(server, token, None)
