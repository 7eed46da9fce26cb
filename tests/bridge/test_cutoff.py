"""R3 for clients that do not play along: one that ignores its close, and one that does not read, are cut off."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from authsvc.services import Services
from tests.bridge.conftest import Bridge, Person
from tests.bridge.raw import SMALL, Raw, close_code, frame
from tests.servers import wait_for

SOON = 5  # seconds. The promise is 2; a machine that is busy gets a little more, and uvicorn's own 10 are too long
MARKER = "after-the-end"


@pytest.mark.promise("R3")
@pytest.mark.parametrize("kind", ["ws", "sse"])
def test_a_client_that_ignores_its_close_is_cut_off(
    bridge: Bridge, anna: Person, services: Services, shout: Callable[[str], None], kind: str
) -> None:
    token, cookie = anna.browser()
    with Raw(bridge.port) as client:
        client.open(kind, cookie)
        wait_for(lambda: bridge.connections == 1)
        services.sessions.logout(token)
        if kind == "ws":
            client.send(frame(1, b'{"type":"ping"}'))
        wait_for(lambda: bridge.connections == 0, seconds=SOON)
        shout(MARKER)
        received = client.rest()
    assert MARKER.encode() not in received
    assert b"pong" not in received
    if kind == "ws":
        assert close_code(received) == 4401
    else:
        assert b'event: session\ndata: {"state":"ended"}' in received


def test_a_client_that_was_refused_and_ignores_it_is_cut_off(bridge: Bridge) -> None:
    with Raw(bridge.port) as client:
        client.open("ws", "")
        wait_for(client.gone, seconds=SOON)
        assert close_code(client.rest()) == 4401


def test_a_client_that_goes_while_it_is_answered_is_no_fault_of_ours(
    bridge: Bridge, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, answered = bridge.app.handle_request, threading.Event()

    async def answer_to_nobody(request: Any) -> Any:
        transport = request.scope["extensions"]["authsvc.abort"].args[0].transport
        client.reset()
        await asyncio.to_thread(wait_for, transport.is_closing)
        await asyncio.sleep(0.05)
        answered.set()
        transport.write(b"too late")  # raises, as it does when only uvloop knows by now
        return await answer(request)

    monkeypatch.setattr(bridge.app, "handle_request", answer_to_nobody)
    with Raw(bridge.port) as client:
        client.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answered.wait(SOON)
    wait_for(lambda: not bridge.server.server_state.tasks)
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.promise("R3")
@pytest.mark.parametrize("kind", ["ws", "sse"])
def test_a_client_that_does_not_read_is_cut_off_and_gets_nothing_after_the_end(
    bridge: Bridge, anna: Person, services: Services, shout: Callable[[str], None], kind: str
) -> None:
    token, cookie = anna.browser()
    with Raw(bridge.port, receive_buffer=SMALL) as client:
        client.open(kind, cookie)
        wait_for(lambda: bridge.connections == 1)
        while not bridge.stuck():
            shout("x" * 8192)
        services.sessions.logout(token)
        shout(MARKER)
        wait_for(client.gone, seconds=SOON)
        wait_for(lambda: bridge.connections == 0)
        assert MARKER.encode() not in client.rest()


@pytest.mark.parametrize("kind", ["ws", "sse"])
def test_a_client_that_lets_too_much_wait_is_cut_off(
    bridge: Bridge, anna: Person, shout: Callable[[str], None], kind: str
) -> None:
    with Raw(bridge.port, receive_buffer=SMALL) as client:
        client.open(kind, anna.browser()[1])
        wait_for(lambda: bridge.connections == 1)
        while bridge.connections:
            shout("x" * 8192)
        wait_for(client.gone)


@pytest.mark.parametrize("kind", ["ws", "sse"])
def test_a_frame_that_does_not_leave_in_time_ends_the_connection(
    bridge: Bridge, anna: Person, shout: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("bridge.connection.SEND_DEADLINE", 1.0)
    with Raw(bridge.port, receive_buffer=SMALL) as client:
        client.open(kind, anna.browser()[1])
        wait_for(lambda: bridge.connections == 1)
        while not bridge.stuck():
            shout("x" * 8192)
        wait_for(client.gone)
    wait_for(lambda: bridge.connections == 0)


def test_a_client_that_asks_for_pongs_and_does_not_read_them_is_cut_off(bridge: Bridge, anna: Person) -> None:
    with Raw(bridge.port, receive_buffer=SMALL) as client:
        client.open("ws", anna.browser()[1])
        pings = frame(9, b"x" * 125) * 500
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.send(pings * 1000)
    wait_for(lambda: bridge.connections == 0)


def test_a_client_that_answers_no_ping_is_closed_with_4408(start_bridge: Callable[..., Bridge], anna: Person) -> None:
    bridge = start_bridge(heartbeat=1)
    with Raw(bridge.port) as client:
        client.open("ws", anna.browser()[1])
        assert close_code(client.rest()) == 4408


@pytest.mark.parametrize("kind", ["ws", "sse"])
def test_a_client_that_vanishes_is_forgotten(bridge: Bridge, anna: Person, kind: str) -> None:
    with Raw(bridge.port) as client:
        client.open(kind, anna.browser()[1])
        wait_for(lambda: bridge.connections == 1)
    wait_for(lambda: bridge.connections == 0)
