"""The one subscription of a process."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from authsvc.core import events
from bridge.broker import Recent
from tests.bridge.conftest import Bridge, Person, greeted
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


def test_only_the_last_ids_are_remembered() -> None:
    recent = Recent(size=2)
    assert [recent.first_time(fact_id) for fact_id in (1, 2, 1, 3, 3, 1)] == [True, True, False, True, False, True]
    assert recent.first_time(None)
    assert recent.first_time(None), "a fact without an id is never the same"
    assert len(recent._ids) == 2
