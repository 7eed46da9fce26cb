"""The feed of revocations, as verifiers follow it: all of it, in order, whatever happens between."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from httpx_sse import aconnect_sse
from joserfc.util import urlsafe_b64decode

from authsvc.core import events, jwt
from authsvc.core.errors import StorageDown
from authsvc.core.events import Fact
from authsvc.domain.outbox import record
from authsvc.services import Services
from tests.bridge.conftest import BOUND, Bridge, Person
from tests.servers import Valkey, wait_for

MANY = 10_000


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


class Following:
    """A verifier's end of the feed. With many tokens it may do without their signatures."""

    def __init__(self, received: AsyncIterator[Any], services: Services) -> None:
        self._received = received
        self._services = services
        self.verifies = True
        self.cursor = ""

    async def next(self) -> tuple[str, Any]:
        """The name of the next message, and what it says: of a token its verified claims."""
        async with asyncio.timeout(BOUND):
            async for message in self._received:
                if message.event == "message":  # the first, which only says when to come back
                    continue
                self.cursor = message.id
                return message.event, self._claims(message.data) if message.event == "set" else json.loads(message.data)
        raise EOFError

    async def ended(self) -> str:
        """The sid of the next session that has ended."""
        name, claims = await self.next()
        assert name == "set"
        sid: str = claims["sub_id"]["session"]["id"]
        return sid

    async def as_many_as_come(self, most: int) -> list[str]:
        """The sids of so many sessions that have ended, fewer if the feed ends before."""
        sids = []
        with contextlib.suppress(EOFError, httpx.RemoteProtocolError, httpx.ReadError):
            while len(sids) < most:
                name, claims = await self.next()
                if name == "set":
                    sids.append(claims["sub_id"]["session"]["id"])
        return sids

    async def until_ready(self) -> list[str]:
        """The names of all messages up to the one that says that nothing is missing."""
        names = []
        while (name := (await self.next())[0]) != "ready":
            names.append(name)
        return names

    async def snapshot(self) -> list[str]:
        """The sessions that have ended, as one is told who knows nothing."""
        assert await self.next() == ("keys", {})
        sids = []
        while True:
            name, claims = await self.next()
            if name == "ready":
                return sids
            sids.append(claims["sub_id"]["session"]["id"])

    async def is_over(self) -> bool:
        try:
            await self.next()
        except (EOFError, httpx.RemoteProtocolError, httpx.ReadError):
            return True
        return False

    def _claims(self, token: str) -> dict[str, Any]:
        if not self.verifies:
            said: dict[str, Any] = json.loads(urlsafe_b64decode(token.split(".")[1].encode()))
            return said
        issuer = self._services.settings.public_url
        return jwt.verify(
            token, self._services.keys.public(), typ=jwt.SECURITY_EVENT, issuer=issuer, audience=issuer,
            now=time.time(), must_expire=False,
        )  # fmt: skip


Follow = Callable[..., Any]


def url_of(bridge: Bridge) -> str:
    return f"http://127.0.0.1:{bridge.port}/revocations"


@pytest.fixture
def token(services: Services) -> str:
    return services.tokens.of_client("orders", scope="other revocations", audience=services.settings.public_url)


@pytest.fixture
def follow(services: Services, token: str) -> Follow:
    @asynccontextmanager
    async def following(bridge: Bridge, cursor: str = "", token: str = token) -> AsyncIterator[Following]:
        wait_for(bridge.following)
        headers = {"Authorization": f"Bearer {token}", **({"Last-Event-ID": cursor} if cursor else {})}
        async with (
            httpx.AsyncClient(timeout=BOUND) as http,
            aconnect_sse(http, "GET", url_of(bridge), headers=headers) as source,
        ):
            assert source.response.status_code == 200
            yield Following(source.aiter_sse(), services)

    return following


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


async def the_rest(cursor: str, count: int, bridge: Bridge, follow: Follow) -> list[str]:
    """What a verifier gets that comes back, as often as it must."""
    sids: list[str] = []
    while len(sids) < count:
        async with follow(bridge, cursor) as again:
            again.verifies = False
            sids += await again.as_many_as_come(count - len(sids))
            cursor = again.cursor
    return sids


@pytest.mark.promise("R5")
async def test_ten_thousand_ends_at_once_all_arrive_also_at_who_does_not_read_and_is_cut_off(
    bridge: Bridge, anna: Person, services: Services, follow: Follow
) -> None:
    sids = [f"sid-{number}" for number in range(MANY)]
    now = int(time.time())
    async with follow(bridge) as feed, follow(bridge) as late:
        await feed.snapshot()
        await late.snapshot()
        feed.verifies = late.verifies = False
        with services.db.transaction() as sql:
            facts = record(sql, [Fact(events.SESSION_ENDED, anna.account.id, now, sid) for sid in sids])
        delivering = asyncio.create_task(asyncio.to_thread(services.outbox.deliver, facts))
        heard = await feed.as_many_as_come(MANY)
        assert await delivering
        heard_late = await late.as_many_as_come(MANY)
    assert heard + await the_rest(feed.cursor, MANY - len(heard), bridge, follow) == sids
    assert heard_late + await the_rest(late.cursor, MANY - len(heard_late), bridge, follow) == sids
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
        refused = await http.get(url_of(bridge), headers={"Authorization": f"Bearer {token}"})
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
        http.stream("GET", url_of(bridge), headers=headers) as response,
    ):
        text = response.aiter_text()
        while await anext(text) != ":\n\n":
            pass
        with valkey.stopped():
            beats = [each async for each in text]
    assert len(beats) <= 2
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


async def test_a_verifier_that_goes_away_leaves_nothing_behind(bridge: Bridge, follow: Follow) -> None:
    async with follow(bridge) as feed:
        await feed.snapshot()
        assert len(bridge.parts.feed._following) == 1
    wait_for(lambda: not bridge.parts.feed._following)
