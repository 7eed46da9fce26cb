"""The stream of facts on sets of servers, and on servers that say little about themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from authsvc.core import events
from authsvc.core.cluster import async_door
from authsvc.core.errors import RedisDown
from authsvc.core.redis import UNKNOWN_RUN, AsyncRedis
from bridge import feed as module
from bridge.app import _stop
from bridge.feed import KEPT, START, Feed
from bridge.protocol import Close
from tests.redis_sets import Cluster, Sentinels
from tests.servers import Valkey, wait_for

BOUND = 15  # seconds in which what should happen happens


class Follower:
    """What the feed sends away when it is lost."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def end(self, why: Close) -> None:
        assert why is Close.RESTARTING
        self.gone.set()


async def nothing() -> list[str]:
    return []


@pytest.fixture
def own_sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    servers = Sentinels(tmp_path)
    yield servers
    servers.kill()


@asynccontextmanager
async def following(url: str) -> AsyncIterator[Feed]:
    door = async_door(url)
    feed = Feed(door, nothing)
    running = asyncio.create_task(feed.run())
    try:
        await until(lambda: feed._run is not None)
        yield feed
    finally:
        await _stop([running])
        await door.close()


async def until(condition: Callable[[], Any]) -> None:
    await asyncio.to_thread(wait_for, condition, seconds=BOUND)


async def add(url: str, *tokens: str) -> None:
    door = async_door(url)
    for token in tokens:
        await door.execute(("XADD", events.STREAM, "*", "fact", "{}", "set", token))
    await door.close()


async def told(feed: Feed, place: tuple[int, int], count: int) -> list[str]:
    """The next tokens after a place."""
    tokens: list[str] = []
    async with asyncio.timeout(BOUND):
        while len(tokens) < count:
            await feed.news(place, BOUND)
            text, place = await feed.after(place)
            tokens += [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return tokens


@pytest.mark.promise("R5")
@pytest.mark.parametrize("kind", ["sentinels", "cluster"])
async def test_tokens_are_heard_from_sets_of_servers(kind: str, request: pytest.FixtureRequest) -> None:
    servers: Sentinels | Cluster = request.getfixturevalue(kind)
    async with following(servers.url) as feed:
        place = feed.place
        await add(servers.url, "a.b.c", "d.e.f")
        assert await told(feed, place, 2) == ["a.b.c", "d.e.f"]
        assert await feed.place_of(feed.cursor(feed.place)) == feed.place


@pytest.mark.promise("R5")
@pytest.mark.promise("R6")
async def test_a_failover_sends_all_away_and_makes_their_cursors_worthless(own_sentinels: Sentinels) -> None:
    sentinels = own_sentinels
    async with following(sentinels.url) as feed:
        await add(sentinels.url, "a.b.c")
        await told(feed, START, 1)
        cursor, follower = feed.cursor(feed.place), Follower()
        feed.enter(follower)  # type: ignore[arg-type]
        await asyncio.to_thread(sentinels.master.kill)
        await asyncio.wait_for(follower.gone.wait(), BOUND)
        await until(lambda: feed._run is not None)
        assert await feed.place_of(cursor) is None


async def test_another_master_is_noticed_though_the_old_one_still_answers(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BELIEVED", 0.2)
    async with following(valkey.url) as feed:
        follower = Follower()
        feed.enter(follower)  # type: ignore[arg-type]
        await add(valkey.url, "a.b.c")
        assert await told(feed, START, 1) == ["a.b.c"]
        door: Any = feed._redis
        with valkey.client() as client:
            before = client.info("stats")["total_connections_received"]
            await until(lambda: client.info("stats")["total_connections_received"] > before + 1)
        assert not follower.gone.is_set(), "a new connection to the same server changes nothing"
        door._on_connect = _as_another_run(door)
        await asyncio.wait_for(follower.gone.wait(), BOUND)


def _as_another_run(door: AsyncRedis) -> Callable[[Any], Any]:
    """New connections come to a server of another run."""
    connect = door._on_connect

    async def on_connect(connection: Any) -> None:
        await connect(connection)
        connection.authsvc_run = b"another!"

    return on_connect


async def test_a_server_without_a_run_is_followed_and_its_cursors_are_worth_nothing(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-info")
    monkeypatch.setattr(module, "BELIEVED", 0)
    async with following(valkey.url) as feed:
        follower = Follower()
        feed.enter(follower)  # type: ignore[arg-type]
        await add(valkey.url, "a.b.c", "d.e.f")
        assert await told(feed, START, 2) == ["a.b.c", "d.e.f"]
        assert feed._run == UNKNOWN_RUN
        assert await feed.place_of(feed.cursor(feed.place)) is None
        assert not follower.gone.is_set()


async def test_who_is_far_behind_is_served_from_redis(valkey: Valkey) -> None:
    async with following(valkey.url) as feed:
        tokens = [f"a.b.{number}" for number in range(KEPT + 10)]
        await add(valkey.url, "a.b.c")
        await told(feed, START, 1)
        behind = feed.place
        await add(valkey.url, *tokens)
        await until(lambda: feed._kept_from > behind)
        assert await told(feed, behind, len(tokens)) == tokens
        assert len(feed._kept) == KEPT
        with valkey.client() as client:
            client.xtrim(events.STREAM, maxlen=5, approximate=False)
        with pytest.raises(RedisDown):
            await feed.after(behind)


async def test_what_is_no_token_is_not_passed_on(valkey: Valkey) -> None:
    async with following(valkey.url) as feed:
        await add(valkey.url, "a.b.c\n\nevent: ready", "", "ä", "d.e.f")
        assert await told(feed, START, 1) == ["d.e.f"]


@pytest.mark.promise("R5")
async def test_a_snapshot_that_was_begun_before_redis_was_lost_is_not_for_who_comes_after(valkey: Valkey) -> None:
    gate, made = asyncio.Event(), list[str]()

    async def recent() -> list[str]:
        made.append("a snapshot")
        await gate.wait()
        return list(made)

    async with following(valkey.url) as feed:
        feed._recent = recent
        before = asyncio.create_task(feed.snapshot())
        await asyncio.sleep(0)
        lost = feed._run
        valkey.restart()
        await until(lambda: feed._run not in (None, lost))
        after = asyncio.create_task(feed.snapshot())
        together = asyncio.create_task(feed.snapshot())
        await asyncio.sleep(0)
        await until(lambda: len(made) == 2)
        gate.set()
        assert await after == await together
        assert len(made) == 2
        assert await before
        assert feed._making is None


async def test_an_answer_of_another_server_than_the_one_that_is_followed_is_not_taken(valkey: Valkey) -> None:
    async with following(valkey.url) as feed:
        await add(valkey.url, "a.b.c")
        await told(feed, START, 1)
        door: Any = feed._redis
        door._on_connect = _as_another_run(door)
        assert await feed.place_of(feed.cursor(feed.place)) is None
        with pytest.raises(RedisDown):
            await feed._read(feed.place)
