"""Whatever ends a session, ends its sockets and streams; its user's others are told and live on."""

from collections.abc import Callable

import pytest
from sqlalchemy import update
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from authsvc.core.crypto import Token
from authsvc.core.times import rfc3339
from authsvc.models import Session
from authsvc.services import Services
from tests.bridge.conftest import Bridge, Person, closed, greeted, receive
from tests.servers import wait_for

ENDED = ("session", {"state": "ended"})


def end_one(how: str, services: Services, token: Token, other: Token, user_id: str) -> None:
    match how:
        case "logout":
            services.sessions.logout(token)
        case "ended from the list":
            services.sessions.end(token.sid, user_id=user_id)
        case "end others":
            services.sessions.end_others(user_id, other.sid)


def end_all(how: str, services: Services, person: Person) -> None:
    match how:
        case "end all":
            services.sessions.end_all(person.account.id)
        case "disable":
            services.accounts.disable(person.email)


@pytest.mark.promise("R3")
@pytest.mark.parametrize("how", ["logout", "ended from the list", "end others"])
async def test_an_end_closes_what_the_session_has_open_and_tells_the_others(
    bridge: Bridge, anna: Person, services: Services, how: str
) -> None:
    (token, cookie), (other, kept) = anna.browser(), anna.browser()
    async with (
        bridge.socket(cookie) as socket, bridge.stream(cookie) as stream,
        bridge.socket(kept) as other_socket, bridge.stream(kept) as other_stream,
    ):  # fmt: skip
        await greeted(socket)
        await greeted(other_socket)
        end_one(how, services, token, other, anna.account.id)
        assert await closed(socket) == 4401
        assert await stream.rest() == [ENDED]
        event = await receive(other_socket)
        assert (event["event"], event["data"]["sid"]) == ("session.ended", token.sid)
        name, data = await other_stream.next()
        assert (name, data["sid"]) == ("session.ended", token.sid)
        services.accounts.set_roles(anna.email, ("editor",))
        assert (await receive(other_socket))["event"] == "roles.changed"
    assert bridge.get(cookie).status_code == 204
    async with bridge.socket(cookie) as again:
        assert await closed(again) == 4401


@pytest.mark.promise("R3")
@pytest.mark.parametrize("how", ["end all", "disable"])
async def test_an_end_of_all_closes_everything_of_the_user(
    bridge: Bridge, anna: Person, services: Services, how: str
) -> None:
    ben = Person(services, "ben@example.org")
    cookie, second = anna.browser()[1], anna.browser()[1]
    async with (
        bridge.socket(cookie) as socket, bridge.socket(second) as another, bridge.stream(second) as stream,
        bridge.socket(ben.browser()[1]) as bens,
    ):  # fmt: skip
        for each in (socket, another, bens):
            await greeted(each)
        end_all(how, services, anna)
        while (name := (await stream.next())[0]) != "session":
            assert name == "session.ended"
        for each in (socket, another):
            assert await told_and_closed(each) == 4401
        services.accounts.set_roles(ben.email, ("editor",))
        assert (await receive(bens))["event"] == "roles.changed", "nobody else notices"
    wait_for(lambda: bridge.connections == 0)


async def told_and_closed(socket: ClientConnection) -> int | None:
    """Of two sessions that end together, the second may still hear of the first."""
    try:
        while True:
            assert (await receive(socket))["event"] == "session.ended"
    except ConnectionClosed as end:
        return end.rcvd and end.rcvd.code


@pytest.mark.parametrize(("lifetime", "later"), [({"idle": 8 * 3600}, 8 * 3600 + 1), ({"absolute": 3600}, 3601)])
async def test_a_session_that_runs_out_ends_its_connections(
    start_bridge: Callable[..., Bridge], anna: Person, lifetime: dict[str, int], later: int
) -> None:
    bridge = start_bridge(**lifetime)
    cookie = anna.browser()[1]
    async with bridge.socket(cookie) as socket, bridge.stream(cookie) as stream:
        await greeted(socket)
        bridge.clock.ahead = later
        assert await closed(socket) == 4401
        assert await stream.rest() == [ENDED]


@pytest.mark.parametrize(
    ("lifetime", "reason"), [({"idle": 3600}, "idle"), ({"idle": 7200, "absolute": 3600}, "absolute")]
)
async def test_a_minute_before_it_runs_out_a_session_is_told_so_once(
    start_bridge: Callable[..., Bridge], anna: Person, services: Services, lifetime: dict[str, int], reason: str
) -> None:
    bridge = start_bridge(**lifetime)
    cookie = anna.browser()[1]
    (listed,) = services.sessions.of_user(anna.account.id)
    async with bridge.socket(cookie) as socket, bridge.stream(cookie) as stream:
        await greeted(socket)
        bridge.clock.ahead = 3600 - 59
        warning = await receive(socket)
        assert (warning["event"], warning["data"]["reason"]) == ("session.expiring", reason)
        assert await stream.next() == ("session.expiring", warning["data"])
        assert warning["data"]["expires"] == rfc3339(listed.created + 3600)
        async with bridge.socket(cookie) as late:
            await greeted(late)
            assert (await receive(late))["data"]["expires"] == warning["data"]["expires"]
        bridge.clock.ahead = 3601
        assert await closed(socket) == 4401
        assert await stream.rest() == [ENDED], "told once"


async def test_use_puts_the_end_of_an_idle_session_off_and_it_is_told_anew(
    start_bridge: Callable[..., Bridge], anna: Person, services: Services
) -> None:
    bridge = start_bridge(idle=3600)
    token, cookie = anna.browser()
    async with bridge.socket(cookie) as socket:
        await greeted(socket)
        bridge.clock.ahead = 3600 - 59
        first = await receive(socket)
        with services.db.transaction() as sql:
            sql.execute(update(Session).where(Session.sid == token.sid).values(seen_at=Session.seen_at + 3000))
        bridge.clock.ahead = 3600 + 3000 - 59
        second = await receive(socket)
        assert first["data"]["expires"] < second["data"]["expires"]


async def test_a_session_that_is_used_elsewhere_goes_on(bridge: Bridge, anna: Person, services: Services) -> None:
    token, cookie = anna.browser()
    async with bridge.socket(cookie) as socket:
        await greeted(socket)
        with services.db.transaction() as sql:
            sql.execute(update(Session).where(Session.sid == token.sid).values(seen_at=Session.seen_at + 8 * 3600))
        loads = bridge.sql.loads
        bridge.clock.ahead = 8 * 3600 + 1
        wait_for(lambda: bridge.sql.loads > loads)
        await socket.send('{"type":"ping"}')
        assert await receive(socket) == {"type": "pong"}


async def test_an_end_of_which_no_message_came_is_found_by_the_sweep(
    bridge: Bridge, anna: Person, services: Services
) -> None:
    token, cookie = anna.browser()
    async with bridge.socket(cookie) as socket, bridge.stream(cookie) as stream:
        await greeted(socket)
        with services.db.transaction() as sql:
            sql.execute(update(Session).where(Session.sid == token.sid).values(ended_at=1))
        bridge.clock.ahead = 31
        assert await closed(socket) == 4401
        assert await stream.rest() == [ENDED]


async def test_a_changed_token_leaves_no_connection_to_the_old_one(
    bridge: Bridge, anna: Person, services: Services
) -> None:
    token, cookie = anna.browser()
    session = services.sessions.load(token)
    assert session
    async with bridge.socket(cookie) as old:
        await greeted(old)
        changed = services.sessions.rotate(session, ("pwd",))
        assert changed
        async with bridge.socket(anna.cookie(changed)) as new:
            await greeted(new)
            bridge.clock.ahead = 31
            assert await closed(old) == 4401
            await new.send('{"type":"ping"}')
            assert await receive(new) == {"type": "pong"}
