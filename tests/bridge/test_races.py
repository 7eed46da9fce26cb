"""R4: a logout that races a handshake wins, wherever in the handshake it comes."""

import asyncio
import random

import pytest
from websockets.exceptions import ConnectionClosed

from authsvc.core.crypto import Token
from authsvc.core.store import Found
from authsvc.services import Services
from tests.bridge.conftest import BOUND, Bridge, Person
from tests.servers import wait_for

WAYS = 100


class Barrier:
    """Stops each handshake where it loads its session: `before` the statement, or `after` it, when the row that says
    "alive" is on its way to the bridge."""

    def __init__(self, bridge: Bridge, where: dict[str, str]) -> None:
        self._bridge = bridge
        self._where = where
        self.arrived: set[str] = set()
        self.open: set[str] = set()
        bridge.sql.hook = self

    async def __call__(self, sid: str) -> Found:
        if self._where[sid] == "before":
            await self._stop(sid)
            return await self._bridge.sql.select(sid)
        row = await self._bridge.sql.select(sid)
        await self._stop(sid)
        return row

    async def _stop(self, sid: str) -> None:
        self.arrived.add(sid)
        while sid not in self.open:  # noqa: ASYNC110 - it is opened by another thread
            await asyncio.sleep(0.002)


async def outcome_of_socket(bridge: Bridge, cookie: str) -> int:
    """The code with which a handshake ends."""
    async with bridge.socket(cookie) as socket:
        try:
            while True:
                await asyncio.wait_for(socket.recv(), BOUND)
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else 1006


async def outcome_of_stream(bridge: Bridge, cookie: str) -> int:
    """204, or 4401 for a stream that was told its session's end."""
    async with bridge.stream(cookie) as stream:
        if stream.response.status_code == 204:
            return 204
        assert (await stream.rest())[-1] == ("session", {"state": "ended"})
        return 4401


@pytest.mark.promise("R4")
async def test_a_logout_that_races_a_handshake_wins(bridge: Bridge, anna: Person, services: Services) -> None:
    tokens = [anna.quick_login() for _ in range(WAYS)]
    barrier = Barrier(bridge, {token.sid: random.choice(["before", "after"]) for token in tokens})
    outcomes = [
        asyncio.create_task((outcome_of_socket, outcome_of_stream)[number % 2](bridge, anna.cookie(token)))
        for number, token in enumerate(tokens)
    ]
    await asyncio.to_thread(wait_for, lambda: len(barrier.arrived) == WAYS)
    await asyncio.gather(*(asyncio.to_thread(race, services, barrier, token) for token in tokens))
    assert set(await asyncio.gather(*outcomes)) <= {204, 4401}
    await asyncio.to_thread(wait_for, lambda: bridge.connections == 0)
    bridge.sql.hook = None
    assert {bridge.get(anna.cookie(token)).status_code for token in tokens[:10]} == {204}


def race(services: Services, barrier: Barrier, token: Token) -> None:
    """The logout, and the handshake going on: one after the other, or the other way round."""
    steps = [lambda: services.sessions.logout(token), lambda: barrier.open.add(token.sid)]
    random.shuffle(steps)
    for step in steps:
        step()


@pytest.mark.promise("R4")
async def test_a_handshake_whose_session_ended_between_load_and_accept_is_not_greeted(
    bridge: Bridge, anna: Person, services: Services
) -> None:
    token, cookie = anna.browser()
    barrier = Barrier(bridge, {token.sid: "after"})
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(frames_until_closed(bridge, cookie))
        await asyncio.to_thread(wait_for, lambda: token.sid in barrier.arrived)
        services.sessions.logout(token)
        (connection,) = next(iter(bridge.parts.hub.rooms())).connections
        await asyncio.to_thread(wait_for, lambda: connection.ended)
        barrier.open.add(token.sid)
    assert task.result() == ([], 4401)


async def frames_until_closed(bridge: Bridge, cookie: str) -> tuple[list[str | bytes], int]:
    frames = []
    async with bridge.socket(cookie) as socket:
        try:
            while True:
                frames.append(await socket.recv())
        except ConnectionClosed as end:
            return frames, end.rcvd.code if end.rcvd else 1006
