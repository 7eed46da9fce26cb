"""A bridge under uvicorn, as in production, in a thread of its own; clients that were not written here."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import redis
import uvicorn
from httpx_sse import ServerSentEvent, aconnect_sse
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from authsvc.core import events
from authsvc.core.crypto import Keyring, Token, write_token
from authsvc.core.events import Fact
from authsvc.core.settings import Settings
from authsvc.core.store import Found, Loader
from authsvc.db import AsyncDatabase, Database
from authsvc.domain.accounts import Account
from authsvc.domain.keys import Keys
from authsvc.domain.revocations import Revocations
from authsvc.domain.sessions import Origin, find, found
from authsvc.login.flow import Caller
from authsvc.services import Services
from bridge.app import create_app
from bridge.parts import Loaders, Parts
from bridge.server import uvicorn_options
from tests.bridge.following import Follow, Following
from tests.conftest import ORIGIN, PASSWORD
from tests.servers import Valkey, free_port, wait_for

BOUND = 10  # seconds in which what should happen happens; nothing is measured by it


class Clock:
    """The bridge's clock: real time, and as far ahead of it as a test likes."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Sql:
    """The loaders that the servers have (authsvc/serve.py), with a database that a test can take away."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._db, self._seldom = AsyncDatabase(settings.sql_url), Database(settings.sql_url)
        keys = Keys(self._seldom, Keyring(settings.keys), settings, clock)
        self._revocations = Revocations(self._seldom, keys, settings, clock)
        self.loaders = Loaders(self, partial(asyncio.to_thread, keys.public), self.recent)
        self.hook: Loader | None = None  # in place of the statement
        self.after_recent: Callable[[], object] = lambda: None
        self.loads = self.snapshots = 0

    async def close(self) -> None:
        await self._db.close()
        self._seldom.close()

    async def recent(self) -> list[str]:
        self.snapshots += 1
        found = await asyncio.to_thread(self._revocations.recent)
        await asyncio.to_thread(self.after_recent)
        return found

    async def __call__(self, sid: str) -> Found:
        self.loads += 1
        return await (self.hook or self.select)(sid)

    async def select(self, sid: str) -> Found:
        async with self._db.reading() as sql:
            return found((await sql.execute(find(sid))).one_or_none(), self._settings)


class Bridge:
    """A running bridge, and ways to connect to it with a cookie's value."""

    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self.settings = settings
        self.clock = Clock()
        self.sql = Sql(settings, self.clock)
        self.port = free_port()
        self.app = create_app(settings, self.sql.loaders, self.clock)
        self.app.after_serving(self.sql.close)
        self.parts: Parts = self.app.extensions["bridge"]
        options = {**uvicorn_options(settings.heartbeat), "log_config": None, "port": self.port, **options}
        self.server = uvicorn.Server(uvicorn.Config(self.app, **options))
        self._thread = threading.Thread(target=self.server.run)

    def start(self) -> None:
        self._thread.start()
        wait_for(lambda: self.server.started or not self._thread.is_alive())
        assert self.server.started

    def subscribed(self) -> bool:
        with redis.Redis.from_url(self.settings.redis_url) as client:
            return dict(client.pubsub_numsub(events.STREAM))[events.STREAM.encode()] > 0

    def following(self) -> bool:
        """Whether it follows the stream of facts for verifiers."""
        return self.parts.feed._run is not None

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(BOUND)
        assert not self._thread.is_alive(), "the bridge does not stop"

    @property
    def connections(self) -> int:
        return sum(len(room.connections) for room in list(self.parts.hub.rooms()))

    def stuck(self) -> bool:
        """Whether something waits, and goes on waiting, for a client to read."""
        for _ in range(10):
            rooms = list(self.parts.hub.rooms())
            if not any(each._waiting for room in rooms for each in list(room.connections)):
                return False
            time.sleep(0.02)
        return True

    def socket(self, cookie: str = "", *, uri: str = "/ws", **more: Any) -> connect:
        options: dict[str, Any] = {
            "origin": ORIGIN,
            "additional_headers": {"Cookie": f"session={cookie}"} if cookie else {},
            "subprotocols": ["authsvc.v1"],
            "proxy": None,
            "ping_interval": None,
            "close_timeout": BOUND,
        }
        return connect(f"ws://127.0.0.1:{self.port}{uri}", **{**options, **more})

    @asynccontextmanager
    async def stream(self, cookie: str, **headers: str) -> AsyncIterator["Stream"]:
        async with (
            httpx.AsyncClient(timeout=BOUND) as http,
            aconnect_sse(http, "GET", self.url, headers={"Cookie": f"session={cookie}", **headers}) as source,
        ):
            yield Stream(source.aiter_sse(), source.response)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events"

    @property
    def revocations_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/revocations"

    def get(self, cookie: str = "", **headers: str) -> httpx.Response:
        """An answer that is not a stream."""
        cookies = {"Cookie": f"session={cookie}"} if cookie else {}
        return httpx.get(self.url, headers={**cookies, **headers}, timeout=BOUND)


class Stream:
    def __init__(self, events: AsyncIterator[ServerSentEvent], response: httpx.Response) -> None:
        self.response = response
        self._events = events

    async def next(self) -> tuple[str, Any]:
        """Name and data of the next event."""
        async for event in self._events:
            if event.data:  # the first one only says when to come back
                return event.event, event.json()
        raise AssertionError("the stream has ended")

    async def rest(self) -> list[tuple[str, Any]]:
        """What comes until the stream ends."""
        return [(event.event, event.json()) async for event in self._events if event.data]


class Person:
    """An account, and the browsers in which it logs in."""

    def __init__(self, services: Services, email: str) -> None:
        self._services = services
        self.account: Account = services.accounts.create(email, services.hasher.hash(PASSWORD))
        self.email = email

    def login(self) -> Token:
        caller = Caller(Origin("127.0.0.1", "test"))
        token = self._services.login.with_password(self.email, PASSWORD, remember=False, caller=caller)[1]
        self._services.outbox.relay()  # starts are left to it
        return token

    def quick_login(self) -> Token:
        """A session without a password, where many are needed."""
        origin = Origin("127.0.0.1", "test")
        return self._services.sessions.create(self.account.id, 0, amr=("pwd",), remember=False, origin=origin)[1]

    def cookie(self, token: Token) -> str:
        return write_token(self._services.keyring, token)

    def browser(self) -> tuple[Token, str]:
        """A new login, and the cookie of it."""
        token = self.login()
        return token, self.cookie(token)


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """The bridge knows no SQL, so one kind of database is enough; test_loader has both."""
    return sqlite_url


@pytest.fixture
def start_bridge(settings: Settings) -> Iterator[Callable[..., Bridge]]:
    started: list[Bridge] = []

    def start(*, subscribed: bool = True, options: dict[str, Any] | None = None, **changes: Any) -> Bridge:
        bridge = Bridge(settings.model_copy(update=changes), options or {})
        started.append(bridge)
        bridge.start()
        if subscribed:
            wait_for(lambda: bridge.subscribed() and bridge.following())
        return bridge

    yield start
    for bridge in started:
        bridge.stop()


@pytest.fixture
def bridge(start_bridge: Callable[..., Bridge]) -> Bridge:
    return start_bridge()


@pytest.fixture
def anna(services: Services) -> Person:
    return Person(services, "anna@example.org")


@pytest.fixture
def token(services: Services) -> str:
    """The access token of a verifier."""
    return services.tokens.of_client("orders", scope="other revocations", audience=services.settings.public_url)


@pytest.fixture
def follow(services: Services, token: str) -> Follow:
    @asynccontextmanager
    async def following(bridge: Bridge, cursor: str = "") -> AsyncIterator[Following]:
        await asyncio.to_thread(wait_for, bridge.following)
        headers = {"Authorization": f"Bearer {token}", **({"Last-Event-ID": cursor} if cursor else {})}
        async with (
            httpx.AsyncClient(timeout=BOUND) as http,
            aconnect_sse(http, "GET", bridge.revocations_url, headers=headers) as source,
        ):
            assert source.response.status_code == 200
            yield Following(source.aiter_sse(), services)

    return following


@pytest.fixture
def shout(valkey: Valkey, anna: Person) -> Callable[[str], None]:
    """Publishes some large events for anna."""

    def publish(text: str) -> None:
        fact = Fact(events.ACCOUNT_CHANGED, anna.account.id, 1, None, {"text": text})
        with valkey.client() as client, client.pipeline(transaction=False) as pipe:
            for _ in range(20):
                pipe.publish(events.STREAM, events.dump(fact))
            pipe.execute()

    return publish


async def greeted(socket: ClientConnection) -> dict[str, Any]:
    """The first frame, once it has come."""
    frame = await receive(socket)
    assert frame["type"] == "hello"
    return frame


async def receive(socket: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), BOUND))
    return frame


async def closed(socket: ClientConnection) -> int:
    """The code with which the server closes; whatever else it still sends is an error."""
    try:
        message = await asyncio.wait_for(socket.recv(), BOUND)
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else 1006
    raise AssertionError(f"delivered: {message!r}")
