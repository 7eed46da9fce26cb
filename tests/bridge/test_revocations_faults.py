"""The feed of revocations while parts of it fail, or have very much to do: nothing is lost, and nobody is told that
nothing is missing while something may be."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import httpx
import pytest

from authsvc.core import events
from authsvc.core.errors import StorageDown
from authsvc.core.events import Fact
from authsvc.domain.outbox import record
from authsvc.services import Services
from tests.bridge.conftest import BOUND, Bridge, Person
from tests.bridge.following import Follow, Following
from tests.servers import Valkey, wait_for

MANY = 10_000


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.mark.promise("R5")
@pytest.mark.parametrize("fault", ["restart", "wipe", "cut"])
async def test_who_comes_back_to_a_stream_that_may_lack_something_begins_anew(
    fault: str, bridge: Bridge, anna: Person, services: Services, valkey: Valkey, follow: Follow
) -> None:
    tokens = [anna.quick_login() for _ in range(3)]
    async with follow(bridge) as feed:
        await feed.snapshot()
        services.sessions.logout(tokens[0])
        await feed.ended()
        cursor = feed.cursor
    services.sessions.logout(tokens[1])
    if fault == "restart":
        valkey.restart()
        services.store.redis._breaker.succeeded()
        wait_for(lambda: not bridge.following() or bridge.parts.feed.cursor((0, 0))[:16] != cursor[:16])
    elif fault == "wipe":
        valkey.wipe()
    services.sessions.logout(tokens[2])
    if fault == "cut":
        with valkey.client() as client:
            assert client.xtrim(events.STREAM, maxlen=1, approximate=False)
    async with follow(bridge, cursor) as feed:
        assert await feed.snapshot() == [token.sid for token in tokens]


async def all_ends(
    feed: Following, count: int, again: Callable[[str], AbstractAsyncContextManager[Following]]
) -> list[str]:
    """The sessions of which a verifier hears that comes back whenever its feed breaks off, each once."""
    sids = dict.fromkeys(await feed.as_many_as_come(count))
    cursor = feed.cursor
    while len(sids) < count:
        async with again(cursor) as resumed:
            resumed.verifies = False
            sids |= dict.fromkeys(await resumed.as_many_as_come(count - len(sids)))
            cursor = resumed.cursor or cursor
    return list(sids)


@pytest.mark.promise("R5")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_ten_thousand_ends_at_once_all_arrive_also_at_who_does_not_read_and_is_cut_off(
    bridge: Bridge, anna: Person, services: Services, follow: Follow
) -> None:
    sids = [f"sid-{number}" for number in range(MANY)]
    now, again = int(time.time()), partial(follow, bridge)
    async with follow(bridge) as feed, follow(bridge) as late:
        await feed.snapshot()
        await late.snapshot()
        feed.verifies = late.verifies = False
        with services.db.transaction() as sql:
            facts = record(sql, [Fact(events.SESSION_ENDED, anna.account.id, now, sid) for sid in sids])
        delivering = asyncio.create_task(asyncio.to_thread(services.outbox.deliver, facts))
        assert await all_ends(feed, MANY, again) == sids
        assert await delivering
        assert await all_ends(late, MANY, again) == sids
    async with follow(bridge) as feed:
        feed.verifies = False
        assert await feed.snapshot() == sids


@pytest.mark.promise("R5")
@pytest.mark.promise("R6")
async def test_an_end_while_redis_is_down_is_told_when_it_is_back(
    bridge: Bridge, anna: Person, services: Services, valkey: Valkey, follow: Follow, token: str
) -> None:
    ended, later = anna.quick_login(), anna.quick_login()
    async with follow(bridge) as feed:
        await feed.snapshot()
        services.sessions.logout(anna.quick_login())
        await feed.ended()
        cursor = feed.cursor
        valkey.kill()
        assert await feed.is_over()
    async with httpx.AsyncClient(timeout=BOUND) as http:
        refused = await http.get(bridge.revocations_url, headers={"Authorization": f"Bearer {token}"})
    assert (refused.status_code, refused.json()["code"]) == (503, "redis_unavailable")
    assert services.sessions.logout(ended).final_by
    valkey.start()
    services.store.redis._breaker.succeeded()
    async with follow(bridge, cursor) as feed:
        assert ended.sid in await feed.snapshot(), "though the relay has not told it yet"
        assert services.outbox.relay()
        assert await feed.ended() == ended.sid
        services.sessions.logout(later)
        assert await feed.ended() == later.sid


async def test_a_feed_is_kept_alive_only_while_somebody_knows_what_happens(
    start_bridge: Callable[..., Bridge], valkey: Valkey, token: str
) -> None:
    bridge = start_bridge(heartbeat=1)
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(timeout=BOUND) as http,
        http.stream("GET", bridge.revocations_url, headers=headers) as response,
    ):
        text = response.aiter_text()
        while await anext(text) != ":\n\n":
            pass
        with valkey.stopped():
            beats = [each async for each in text]
    assert len(beats) <= 3
    assert set(beats) <= {":\n\n"}


async def test_a_wipe_under_those_who_follow_sends_them_away(
    bridge: Bridge, anna: Person, services: Services, valkey: Valkey, follow: Follow
) -> None:
    async with follow(bridge) as feed:
        await feed.snapshot()
        services.sessions.logout(anna.quick_login())
        await feed.ended()
        valkey.wipe()
        assert await feed.is_over()


async def test_without_sql_nobody_is_told_that_nothing_is_missing(bridge: Bridge, follow: Follow) -> None:
    def down() -> None:
        raise StorageDown

    bridge.sql.after_recent = down
    async with follow(bridge) as feed:
        assert await feed.is_over()


async def test_those_who_come_together_share_a_snapshot(
    bridge: Bridge, anna: Person, services: Services, follow: Follow
) -> None:
    ended, meanwhile = anna.quick_login(), anna.quick_login()
    services.sessions.logout(ended)
    gate = threading.Event()
    bridge.sql.after_recent = lambda: gate.wait(BOUND)
    async with follow(bridge) as one, follow(bridge) as other:
        wait_for(lambda: bridge.sql.snapshots == 1 and len(bridge.parts.feed._following) == 2)
        services.sessions.logout(meanwhile)
        gate.set()
        assert await one.snapshot() == [ended.sid, meanwhile.sid]
        assert await other.snapshot() == [ended.sid, meanwhile.sid]
    assert bridge.sql.snapshots == 1


async def test_a_bridge_that_stops_ends_the_feed_and_another_goes_on(
    start_bridge: Callable[..., Bridge], anna: Person, services: Services, follow: Follow
) -> None:
    first, second = start_bridge(), start_bridge()
    ended = anna.quick_login()
    async with follow(first) as feed:
        await feed.snapshot()
        services.sessions.logout(anna.quick_login())
        await feed.ended()
        cursor = feed.cursor
        first.server.should_exit = True
        assert await feed.is_over()
    services.sessions.logout(ended)
    async with follow(second, cursor) as feed:
        assert await feed.ended() == ended.sid
        assert await feed.until_ready() == []
