"""What happens to sockets and streams while Redis or SQL is away: nobody is logged out, nobody ended stays."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import update

from authsvc.core.errors import StorageDown
from authsvc.core.store import Found
from authsvc.models import Session
from authsvc.services import Services
from bridge.sweep import AT_ONCE
from tests.bridge.conftest import BOUND, Bridge, Person, closed, greeted, receive
from tests.servers import Valkey, wait_for


async def sql_is_down(sid: str) -> Found:
    raise StorageDown


async def still_open(*sockets: object) -> None:
    for socket in sockets:
        await socket.send('{"type":"ping"}')  # type: ignore[attr-defined]
        assert await receive(socket) == {"type": "pong"}  # type: ignore[arg-type]


async def test_sockets_stay_while_redis_restarts_and_hear_what_comes_after(
    bridge: Bridge, anna: Person, services: Services, valkey: Valkey
) -> None:
    cookie = anna.browser()[1]
    async with bridge.socket(cookie) as socket, bridge.stream(cookie) as stream:
        await greeted(socket)
        valkey.restart()
        await asyncio.to_thread(wait_for, bridge.subscribed)
        await still_open(socket)
        services.accounts.set_roles(anna.email, ("editor",))
        services.outbox.relay()
        assert (await receive(socket))["event"] == "roles.changed"
        assert (await stream.next())[0] == "roles.changed"


@pytest.mark.promise("R3")
async def test_an_end_while_redis_was_away_takes_effect_when_it_is_back(
    bridge: Bridge, anna: Person, services: Services, valkey: Valkey
) -> None:
    (token, cookie), (_, kept) = anna.browser(), anna.browser()
    async with bridge.socket(cookie) as socket, bridge.stream(cookie) as stream, bridge.socket(kept) as other:
        await greeted(socket)
        await greeted(other)
        valkey.kill()
        assert services.sessions.logout(token).final_by
        await still_open(socket)
        valkey.start()
        assert await closed(socket) == 4401
        assert await stream.rest() == [("session", {"state": "ended"})]
        await still_open(other)


@pytest.mark.promise("R3")
async def test_what_happens_before_a_session_is_looked_at_again_waits_for_that(
    bridge: Bridge, anna: Person, services: Services, valkey: Valkey
) -> None:
    (token, cookie), (_, kept) = anna.browser(), anna.browser()
    look = threading.Event()

    async def later(sid: str) -> Found:
        await asyncio.to_thread(look.wait, BOUND)
        return await bridge.sql.select(sid)

    async with bridge.socket(cookie) as socket, bridge.stream(cookie) as stream, bridge.socket(kept) as other:
        await greeted(socket)
        await greeted(other)
        valkey.kill()
        services.sessions.logout(token)
        bridge.sql.hook, loads = later, bridge.sql.loads
        valkey.start()
        await asyncio.to_thread(wait_for, lambda: bridge.sql.loads == loads + 2)
        services.accounts.set_roles(anna.email, ("editor",))
        await still_open(socket)
        look.set()
        assert await closed(socket) == 4401
        assert await stream.rest() == [("session", {"state": "ended"})]
        assert (await receive(other))["event"] == "roles.changed"


async def test_a_socket_opens_while_redis_is_down(bridge: Bridge, anna: Person, valkey: Valkey) -> None:
    cookie = anna.browser()[1]
    valkey.kill()
    async with bridge.socket(cookie) as socket, bridge.stream(cookie) as stream:
        assert (await greeted(socket))["cursor"] == ""
        assert stream.response.status_code == 200


@pytest.mark.promise("R4")
async def test_an_ended_session_opens_nothing_while_redis_is_down(
    bridge: Bridge, anna: Person, services: Services, valkey: Valkey
) -> None:
    token, cookie = anna.browser()
    services.sessions.load(token)
    valkey.kill()
    services.sessions.logout(token)
    async with bridge.socket(cookie) as socket:
        assert await closed(socket) == 4401
    assert bridge.get(cookie).status_code == 204


async def test_a_bridge_that_starts_without_redis_finds_it_later(
    start_bridge: Callable[..., Bridge], anna: Person, services: Services, valkey: Valkey
) -> None:
    token, cookie = anna.browser()
    valkey.kill()
    bridge = start_bridge(subscribed=False)
    async with bridge.socket(cookie) as socket:
        await greeted(socket)
        valkey.start()
        await asyncio.to_thread(wait_for, bridge.subscribed)
        services.outbox.relay()
        services.sessions.logout(token)
        services.outbox.relay()
        assert await closed(socket) == 4401


async def test_a_frozen_redis_is_noticed_and_left(bridge: Bridge, anna: Person, valkey: Valkey) -> None:
    cookie = anna.browser()[1]
    with valkey.stopped():
        async with bridge.socket(cookie) as socket:
            await greeted(socket)


async def test_while_sql_is_down_a_session_in_use_opens_and_one_that_is_not_must_wait(
    bridge: Bridge, anna: Person, services: Services
) -> None:
    (used, cookie), (_, unused) = anna.browser(), anna.browser()
    assert services.sessions.load(used), "its copy is in Redis now"
    bridge.sql.hook = sql_is_down
    async with bridge.socket(cookie) as socket:
        await greeted(socket)
    async with bridge.socket(unused) as socket:
        assert await closed(socket) == 1013
    answer = bridge.get(unused)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


async def test_sql_that_does_not_answer_counts_as_down(bridge: Bridge, anna: Person) -> None:
    async def never(sid: str) -> Found:
        await asyncio.Event().wait()
        raise AssertionError

    bridge.sql.hook = never
    async with bridge.socket(anna.browser()[1]) as socket:
        assert await closed(socket) == 1013


async def test_a_fault_of_ours_is_called_one(bridge: Bridge, anna: Person, caplog: pytest.LogCaptureFixture) -> None:
    async def faulty(sid: str) -> Found:
        raise RuntimeError("a fault of our own")

    bridge.sql.hook = faulty
    cookie = anna.browser()[1]
    async with bridge.socket(cookie) as socket:
        assert await closed(socket) == 1011
    answer = bridge.get(cookie)
    assert (answer.status_code, answer.json()["code"]) == (500, "error")
    assert "a fault of our own" not in answer.text
    assert "a fault of our own" in caplog.text


@pytest.mark.promise("R3")
async def test_connections_are_closed_when_nobody_could_tell_for_too_long(
    bridge: Bridge, anna: Person, valkey: Valkey
) -> None:
    cookie = anna.browser()[1]
    async with bridge.socket(cookie) as socket, bridge.stream(cookie) as stream:
        await greeted(socket)
        valkey.kill()
        bridge.sql.hook = sql_is_down
        loads = bridge.sql.loads
        bridge.clock.ahead = 60
        await asyncio.to_thread(wait_for, lambda: bridge.sql.loads > loads)
        await still_open(socket)
        bridge.clock.ahead = 105
        assert await closed(socket) == 1013
        assert await stream.rest() == [], "it is not told that the session has ended"


async def test_a_socket_survives_an_outage_that_ends_in_time(bridge: Bridge, anna: Person, valkey: Valkey) -> None:
    async with bridge.socket(anna.browser()[1]) as socket:
        await greeted(socket)
        valkey.kill()
        bridge.sql.hook = sql_is_down
        loads = bridge.sql.loads
        bridge.clock.ahead = 60
        await asyncio.to_thread(wait_for, lambda: bridge.sql.loads > loads)
        bridge.sql.hook, loads = None, bridge.sql.loads
        bridge.clock.ahead = 66
        await asyncio.to_thread(wait_for, lambda: bridge.sql.loads > loads)
        loads = bridge.sql.loads
        bridge.clock.ahead = 105
        await asyncio.to_thread(wait_for, lambda: bridge.sql.loads > loads)
        await still_open(socket)


async def test_checks_that_hang_do_not_keep_the_others_open(bridge: Bridge, anna: Person, valkey: Valkey) -> None:
    async def never(sid: str) -> Found:
        await asyncio.Event().wait()
        raise AssertionError

    async with AsyncExitStack() as stack:
        cookies = [anna.cookie(anna.quick_login()) for _ in range(4 * AT_ONCE)]
        sockets = [await stack.enter_async_context(bridge.socket(cookie)) for cookie in cookies]
        for socket in sockets:
            await greeted(socket)
        valkey.kill()
        bridge.sql.hook = never
        loads = bridge.sql.loads
        bridge.clock.ahead = 60
        await asyncio.to_thread(wait_for, lambda: bridge.sql.loads == loads + AT_ONCE)
        bridge.clock.ahead = 105
        assert {await closed(socket) for socket in sockets} == {1013}


async def test_a_session_whose_whole_time_is_over_ends_also_when_nobody_can_tell(
    start_bridge: Callable[..., Bridge], anna: Person, valkey: Valkey
) -> None:
    bridge = start_bridge(absolute=3600)
    async with bridge.socket(anna.browser()[1]) as socket:
        await greeted(socket)
        valkey.kill()
        bridge.sql.hook = sql_is_down
        bridge.clock.ahead = 3601
        assert await closed(socket) == 4401


async def test_a_fault_in_one_check_does_not_stop_the_others(
    bridge: Bridge, anna: Person, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    (sick, cookie), (token, other) = anna.browser(), anna.browser()

    async def faulty(sid: str) -> Found:
        if sid == sick.sid:
            raise RuntimeError("a fault of our own")
        return await bridge.sql.select(sid)

    async with bridge.socket(cookie) as one, bridge.socket(other) as two:
        await greeted(one)
        await greeted(two)
        with services.db.transaction() as sql:
            sql.execute(update(Session).where(Session.sid == token.sid).values(ended_at=1))
        bridge.sql.hook = faulty
        bridge.clock.ahead = 31
        assert await closed(two) == 4401
        await asyncio.to_thread(wait_for, lambda: "could not be checked" in caplog.text)
        await still_open(one)
        bridge.clock.ahead = 110
        assert await closed(one) == 1013
