"""The one subscription of this process: every fact that web and workers publish, once each."""

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Callable

from redis import RedisError
from redis.asyncio.client import PubSub

from authsvc.core import events, request_ids
from authsvc.core.cluster import AsyncDoor
from authsvc.core.errors import RedisDown
from bridge.hub import Hub

TIMEOUT = 2.0  # seconds, to connect and to write
QUIET = 5.0  # seconds without a message before the server is asked whether it is there
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 5.0  # seconds between two tries
REMEMBERED = 10_000  # facts
FOR_USERS = ("session.", "account.", "roles.", "task.")

log = logging.getLogger(__name__)


class Recent:
    """The ids of the last facts: the relay may deliver one that was delivered already."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._ids: OrderedDict[int, None] = OrderedDict()

    def first_time(self, fact_id: int | None) -> bool:
        if fact_id is None:
            return True
        if fact_id in self._ids:
            return False
        self._ids[fact_id] = None
        if len(self._ids) > self._size:
            self._ids.popitem(last=False)
        return True


class Broker:
    """`subscribed` is called after each new connection: what was published before it may have been missed."""

    def __init__(self, redis: AsyncDoor, hub: Hub, subscribed: Callable[[], None]) -> None:
        self._redis = redis
        self._hub = hub
        self._subscribed = subscribed
        self._recent = Recent()
        self._pause = SHORTEST_PAUSE

    async def run(self) -> None:
        while True:
            try:
                async with await self._redis.client(events.STREAM, TIMEOUT) as client, client.pubsub() as pubsub:
                    await self._listen(pubsub)
            except (RedisDown, RedisError, OSError) as error:
                if self._pause == SHORTEST_PAUSE:  # once for each outage
                    log.warning("the subscription was lost: %s", type(error).__name__)
            await asyncio.sleep(self._pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _listen(self, pubsub: PubSub) -> None:
        await pubsub.subscribe(events.STREAM)
        asked = False
        while True:
            message = await pubsub.get_message(timeout=QUIET)
            if message is None and asked:
                raise TimeoutError
            asked = message is None
            if message is None:
                await pubsub.ping()
            elif message["type"] == "subscribe":
                self._pause = SHORTEST_PAUSE
                self._subscribed()
            elif message["type"] == "message":
                self._receive(message["data"])

    def _receive(self, message: bytes) -> None:
        fact = events.parse(message)
        if fact is None:
            return
        # Also when it was told before: closing twice does no harm.
        if fact.name == events.SESSION_ENDED and fact.sid and (closed := self._hub.end(fact.sid)):
            with request_ids.bound(fact.request_id):
                log.info("session ended", extra={"sid": fact.sid, "connections": closed})
        if fact.user and fact.name.startswith(FOR_USERS) and self._recent.first_time(fact.id):
            self._hub.tell(fact)
