"""The feed of revocations, as verifiers follow it: all of it, in order, and once."""

import time
from collections.abc import Callable

import pytest

from authsvc.core import events
from authsvc.core.events import Fact
from authsvc.domain.outbox import record
from authsvc.services import Services
from tests.bridge.conftest import Bridge, Person
from tests.bridge.following import Follow
from tests.servers import wait_for


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.mark.promise("R5")
async def test_the_end_of_a_session_reaches_those_who_follow(
    bridge: Bridge, anna: Person, services: Services, follow: Follow
) -> None:
    first, second = anna.login(), anna.login()
    async with follow(bridge) as one, follow(bridge) as other:
        assert (await one.snapshot(), await other.snapshot()) == ([], [])
        for ended in (first, second):
            services.sessions.logout(ended)
            assert (await one.ended(), await other.ended()) == (ended.sid, ended.sid)


async def test_what_happens_to_a_user_is_told_under_its_name(
    bridge: Bridge, anna: Person, services: Services, follow: Follow
) -> None:
    async with follow(bridge) as feed:
        await feed.snapshot()
        services.accounts.set_roles(anna.email, ("editor",))
        name, claims = await feed.next()
        assert name == "set"
        assert claims["sub_id"] == {"format": "iss_sub", "iss": services.settings.public_url, "sub": anna.account.id}
        services.keys.revoke(services.keys.listed()[0].kid)
        services.outbox.relay()
        assert await feed.next() == ("keys", {})


@pytest.mark.promise("R5")
async def test_who_comes_first_gets_all_that_still_matters(
    bridge: Bridge, anna: Person, services: Services, follow: Follow
) -> None:
    ended, alive = anna.login(), anna.login()
    with services.db.transaction() as sql:
        record(sql, [Fact(events.SESSION_ENDED, anna.account.id, int(time.time()) - 361, "forgotten")])
    services.sessions.logout(ended)
    async with follow(bridge) as feed:
        assert await feed.snapshot() == [ended.sid]
        services.sessions.logout(alive)
        assert await feed.ended() == alive.sid


@pytest.mark.promise("R5")
async def test_who_comes_back_gets_what_was_missed_in_order_and_once(
    bridge: Bridge, anna: Person, services: Services, follow: Follow
) -> None:
    tokens = [anna.quick_login() for _ in range(6)]
    async with follow(bridge) as feed:
        await feed.snapshot()
        services.sessions.logout(tokens[0])
        await feed.ended()
        cursor = feed.cursor
    for each in tokens[1:4]:
        services.sessions.logout(each)
    async with follow(bridge, cursor) as feed:
        assert [await feed.ended() for _ in range(3)] == [each.sid for each in tokens[1:4]]
        assert (await feed.next())[0] == "ready"
        services.sessions.logout(tokens[4])
        assert await feed.ended() == tokens[4].sid
        cursor = feed.cursor
    async with follow(bridge, cursor) as feed:
        assert await feed.until_ready() == []
        assert feed.cursor == cursor
        services.sessions.logout(tokens[5])
        assert await feed.ended() == tokens[5].sid


async def test_a_cursor_is_good_at_every_bridge(
    start_bridge: Callable[..., Bridge], anna: Person, services: Services, follow: Follow
) -> None:
    one, other = start_bridge(), start_bridge()
    ended = anna.quick_login()
    async with follow(one) as feed:
        await feed.snapshot()
        services.sessions.logout(anna.quick_login())
        await feed.ended()
        cursor = feed.cursor
    services.sessions.logout(ended)
    async with follow(other, cursor) as feed:
        assert await feed.ended() == ended.sid
        assert await feed.until_ready() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda cursor: cursor[:0],
        lambda cursor: cursor[:1],
        lambda cursor: "0" * 16 + cursor[16:],
        lambda cursor: cursor[:16] + "-0-0",
        lambda cursor: cursor[:-1] + "7",
        lambda cursor: cursor[:16] + "-9999999999999-0",
        lambda cursor: cursor[:16] + "-99999999999999999999999-0",
        lambda cursor: cursor.rpartition("-")[0],
        lambda cursor: cursor.replace("-", "_"),
    ],
)
async def test_a_cursor_that_was_never_given_is_none(
    change: Callable[[str], str], bridge: Bridge, anna: Person, services: Services, follow: Follow
) -> None:
    ended = anna.quick_login()
    async with follow(bridge) as feed:
        await feed.snapshot()
        services.sessions.logout(ended)
        await feed.ended()
        cursor = feed.cursor
    async with follow(bridge, change(cursor)) as feed:
        assert await feed.snapshot() == [ended.sid]
    assert services.store.redis.execute(("PING",)), "nobody has hurt the connections of others"


async def test_a_verifier_that_goes_away_leaves_nothing_behind(bridge: Bridge, follow: Follow) -> None:
    async with follow(bridge) as feed:
        await feed.snapshot()
        assert len(bridge.parts.feed._following) == 1
    wait_for(lambda: not bridge.parts.feed._following)
