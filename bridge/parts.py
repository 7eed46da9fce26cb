"""The one place where the parts of the bridge meet."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from authsvc.core import events
from authsvc.core.cluster import AsyncDoor, async_door
from authsvc.core.crypto import Keyring, Token
from authsvc.core.errors import RedisDown, StorageDown
from authsvc.core.jwk import PublicKey
from authsvc.core.session import Session
from authsvc.core.settings import Settings
from authsvc.core.store import AsyncStore, Clock, Found, Loader
from bridge.auth import Bearers
from bridge.broker import Broker
from bridge.feed import Feed
from bridge.hub import Hub
from bridge.sweep import Sweep

PATIENCE = 5.0  # seconds after which SQL counts as down

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loaders:
    """What the bridge needs of SQL: a session's row, the public keys, and the tokens for a verifier that knows nothing
    yet, oldest first; these may take a while to be signed. Each raises StorageDown."""

    session: Loader
    keys: Callable[[], Awaitable[Mapping[str, PublicKey]]]
    recent: Callable[[], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Parts:
    settings: Settings
    clock: Clock
    keyring: Keyring
    redis: AsyncDoor
    hub: Hub
    broker: Broker
    sweep: Sweep
    bearers: Bearers
    feed: Feed

    async def cursor(self) -> str:
        """The position of the stream of facts, for `hello`: its newest entry. Empty if there is none, or no Redis.

        One command. Whatever comes after it is delivered live, for the connection is registered already.
        """
        try:
            (newest,) = (await self.redis.execute(("XREVRANGE", events.STREAM, "+", "-", "COUNT", 1))).values
        except RedisDown:
            return ""
        return newest[0][0].decode() if newest else ""


def build(settings: Settings, load: Loaders, clock: Clock = time.time) -> Parts:
    redis = async_door(settings.hot_url)
    store = AsyncStore(redis, clock)

    async def select(sid: str) -> Found:
        return await _in_time(load.session(sid))

    async def check(token: Token) -> Session | None:
        return await store.load(token, select)

    hub = Hub(check, settings.sockets_per_session, clock)
    sweep = Sweep(hub, check, clock)
    broker = Broker(redis, hub, subscribed=sweep.everything)
    bearers = Bearers(lambda: _in_time(load.keys()), settings.public_url, clock)
    feed = Feed(redis, load.recent)
    return Parts(settings, clock, Keyring(settings.keys), redis, hub, broker, sweep, bearers, feed)


async def _in_time(loading: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(PATIENCE):
            return await loading
    except TimeoutError:
        raise StorageDown from None
