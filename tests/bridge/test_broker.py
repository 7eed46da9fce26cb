"""The one subscription of a process."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from authsvc.core import events
from authsvc.core.cluster import async_door
from bridge.broker import Broker, Recent
from tests.bridge.conftest import Bridge, Person, greeted
from tests.redis_sets import Cluster, Sentinels
from tests.servers import Valkey, wait_for


async def test_a_process_has_one_subscription(
    start_bridge: Callable[..., Bridge], anna: Person, valkey: Valkey
) -> None:
    bridges = [start_bridge(), start_bridge()]
    async with AsyncExitStack() as stack:
        for bridge in bridges * 3:
            cookie = anna.browser()[1]
            await greeted(await stack.enter_async_context(bridge.socket(cookie)))
            await stack.enter_async_context(bridge.stream(cookie))
        with valkey.client() as client:
            wait_for(lambda: client.pubsub_numsub(events.STREAM)[0][1] == len(bridges))


@pytest.mark.parametrize("kind", ["sentinels", "cluster"])
async def test_facts_are_heard_from_sets_of_servers(kind: str, request: pytest.FixtureRequest) -> None:
    servers: Sentinels | Cluster = request.getfixturevalue(kind)
    ready, heard = asyncio.Event(), asyncio.Queue[events.Fact]()
    hub: Any = SimpleNamespace(end=lambda _sid: 0, tell=heard.put_nowait)
    reader, writer = async_door(servers.url), async_door(servers.url)
    listening = asyncio.create_task(Broker(reader, hub, subscribed=ready.set).run())
    fact = events.Fact(events.SESSION_STARTED, "u", 1, "sid", id=1)
    try:
        async with asyncio.timeout(10):
            await ready.wait()
            await writer.execute(("PUBLISH", events.STREAM, events.dump(fact)))
            assert await heard.get() == fact
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await reader.close()
        await writer.close()


def test_only_the_last_ids_are_remembered() -> None:
    recent = Recent(size=2)
    assert [recent.first_time(fact_id) for fact_id in (1, 2, 1, 3, 3, 1)] == [True, True, False, True, False, True]
    assert recent.first_time(None)
    assert recent.first_time(None), "a fact without an id is never the same"
    assert len(recent._ids) == 2
