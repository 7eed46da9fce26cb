"""The one place where the parts of the bridge meet."""

import asyncio
import time
from dataclasses import dataclass

from authsvc.core import events
from authsvc.core.cluster import AsyncDoor, async_door
from authsvc.core.crypto import Keyring, Token
from authsvc.core.errors import RedisDown, StorageDown
from authsvc.core.session import Session
from authsvc.core.settings import Settings
from authsvc.core.store import AsyncStore, Clock, Found, Loader
from bridge.broker import Broker
from bridge.hub import Hub
from bridge.sweep import Sweep

PATIENCE = 5.0  # seconds after which SQL counts as down


@dataclass(frozen=True, slots=True)
class Parts:
    settings: Settings
    keyring: Keyring
    redis: AsyncDoor
    hub: Hub
    broker: Broker
    sweep: Sweep

    async def cursor(self) -> str:
        """The position of the stream of facts, for `hello`: its newest entry. Empty if there is none, or no Redis.

        One command. Whatever comes after it is delivered live, for the connection is registered already.
        """
        try:
            (newest,) = (await self.redis.execute(("XREVRANGE", events.STREAM, "+", "-", "COUNT", 1))).values
        except RedisDown:
            return ""
        return newest[0][0].decode() if newest else ""


def build(settings: Settings, load: Loader, clock: Clock = time.time) -> Parts:
    redis = async_door(settings.hot_url)
    store = AsyncStore(redis, clock)

    async def select(sid: str) -> Found:
        try:
            async with asyncio.timeout(PATIENCE):
                return await load(sid)
        except TimeoutError:
            raise StorageDown from None

    async def check(token: Token) -> Session | None:
        return await store.load(token, select)

    hub = Hub(check, settings.sockets_per_session, clock)
    sweep = Sweep(hub, check, clock)
    broker = Broker(redis, hub, subscribed=sweep.everything)
    return Parts(settings, Keyring(settings.keys), redis, hub, broker, sweep)
