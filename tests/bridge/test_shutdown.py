"""The end of the server: clients are told to come back, it takes no longer than the grace, and nobody complains."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from authsvc.core.store import Found
from tests.bridge.conftest import BOUND, Bridge, Person, closed, greeted
from tests.bridge.raw import SMALL, Raw
from tests.conftest import ORIGIN
from tests.servers import wait_for


async def test_clients_are_told_that_the_server_restarts(
    bridge: Bridge, anna: Person, caplog: pytest.LogCaptureFixture
) -> None:
    cookie = anna.browser()[1]
    async with bridge.socket(cookie) as socket, bridge.stream(cookie) as stream:
        await greeted(socket)
        bridge.server.should_exit = True
        assert await closed(socket) == 1012
        assert await stream.rest() == [], "the stream ends, the session does not"
    bridge.stop()
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("kind", ["ws", "sse"])
@pytest.mark.filterwarnings("error")
def test_a_client_that_does_not_read_does_not_hold_up_the_end(
    bridge: Bridge, anna: Person, shout: Callable[[str], None], caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    with Raw(bridge.port, receive_buffer=SMALL) as client, Raw(bridge.port) as deaf:
        for each in (client, deaf):
            each.open(kind, anna.browser()[1])
        wait_for(lambda: bridge.connections == 2)
        while not bridge.stuck():
            shout("x" * 8192)
        bridge.stop()
        wait_for(client.gone)
    assert [record.getMessage() for record in caplog.records] == []


async def test_a_check_that_does_not_want_to_stop_does_not_hold_up_the_end(bridge: Bridge, anna: Person) -> None:
    async def stubborn(sid: str) -> Found:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return await bridge.sql.select(sid)

    async with bridge.socket(anna.browser()[1]) as socket:
        await greeted(socket)
        loads = bridge.sql.loads
        bridge.sql.hook = stubborn
        bridge.clock.ahead = 31
        await asyncio.to_thread(wait_for, lambda: bridge.sql.loads > loads)
        await asyncio.to_thread(bridge.stop)


async def test_nothing_secret_is_logged(bridge: Bridge, anna: Person, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    cookie = anna.browser()[1]
    for headers in ({"Cookie": f"session={cookie}"}, {"Cookie": f"session={cookie}", "Sec-Fetch-Site": "cross-site"}):
        with httpx.stream("GET", f"{bridge.url}?token=hunter2", headers=headers, timeout=BOUND):
            pass
    async with bridge.socket(cookie, uri="/ws?token=hunter2", origin="https://evil.example") as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    ours = [r for r in caplog.records if r.name.split(".")[0] in ("uvicorn", "bridge", "quart", "authsvc")]
    logged = " ".join(record.getMessage() for record in ours)
    assert "hunter2" not in logged
    assert cookie not in logged
    assert ORIGIN not in logged
