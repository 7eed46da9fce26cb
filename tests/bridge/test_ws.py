"""What a socket may expect: who is let in, the greeting, the events, the refusals."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode

from authsvc.core import events
from authsvc.core.crypto import new_token, write_token
from authsvc.services import Services
from bridge.protocol import Pace
from tests.bridge.conftest import Bridge, Person, closed, greeted, receive
from tests.conftest import ORIGIN
from tests.servers import Valkey, wait_for

TRUSTED = "https://app.example.org"


async def test_a_socket_is_greeted_with_who_it_is(bridge: Bridge, anna: Person, valkey: Valkey) -> None:
    token, cookie = anna.browser()
    async with bridge.socket(cookie) as socket:
        hello = await greeted(socket)
    with valkey.client() as client:
        newest = client.xrevrange(events.STREAM, count=1)[0][0].decode()
    assert socket.subprotocol == "authsvc.v1"
    assert hello == {"type": "hello", "sid": token.sid, "user": anna.account.id, "cursor": newest, "heartbeat": 15}


async def test_a_client_without_our_subprotocol_is_served_without_one(bridge: Bridge, anna: Person) -> None:
    async with bridge.socket(anna.browser()[1], subprotocols=None) as socket:
        await greeted(socket)
    assert socket.subprotocol is None


@pytest.mark.promise("B8")
@pytest.mark.parametrize(
    "origin",
    [None, "null", "https://evil.example", f"{ORIGIN}.evil.example", "http://127.0.0.1:8001", "https://127.0.0.1:8000",
     "http://127.0.0.1", "HTTP://127.0.0.1:8000", f"{ORIGIN}/", f"{ORIGIN} ,https://evil.example"],
)  # fmt: skip
async def test_a_page_of_another_origin_gets_no_socket(bridge: Bridge, anna: Person, origin: str | None) -> None:
    async with bridge.socket(anna.browser()[1], origin=origin) as socket:
        assert await closed(socket) == 4403


@pytest.mark.promise("B8")
async def test_two_origins_are_none(bridge: Bridge, anna: Person) -> None:
    headers = [("Cookie", f"session={anna.browser()[1]}"), ("Origin", ORIGIN), ("Origin", ORIGIN)]
    with pytest.raises(InvalidStatus):
        await bridge.socket(origin=None, additional_headers=headers)


@pytest.mark.promise("B8")
async def test_a_trusted_origin_gets_a_socket(start_bridge: Callable[..., Bridge], anna: Person) -> None:
    bridge = start_bridge(trusted_origins=(TRUSTED,))
    async with bridge.socket(anna.browser()[1], origin=TRUSTED) as socket:
        await greeted(socket)


async def test_a_stranger_gets_no_socket(bridge: Bridge, services: Services) -> None:
    for cookie in ("", "x", "A" * 88, write_token(services.keyring, new_token())):
        async with bridge.socket(cookie) as socket:
            assert await closed(socket) == 4401


async def test_a_token_with_another_secret_gets_no_socket(bridge: Bridge, anna: Person, services: Services) -> None:
    stolen = write_token(services.keyring, new_token(anna.login().sid))
    async with bridge.socket(stolen) as socket:
        assert await closed(socket) == 4401


@pytest.mark.parametrize("separate", [True, False])
async def test_two_cookies_of_our_name_are_refused(bridge: Bridge, anna: Person, separate: bool) -> None:
    mine, planted = anna.browser()[1], anna.browser()[1]
    pairs = [f"session={mine}", f"session={planted}"]
    headers = [("Cookie", value) for value in (pairs if separate else ["; ".join(pairs)])]
    async with bridge.socket(additional_headers=headers) as socket:
        assert await closed(socket) == 4401


async def test_what_happens_to_a_user_reaches_their_sockets_and_nobody_elses(
    bridge: Bridge, anna: Person, services: Services
) -> None:
    ben = Person(services, "ben@example.org")
    async with bridge.socket(anna.browser()[1]) as annas, bridge.socket(ben.browser()[1]) as bens:
        await greeted(annas)
        await greeted(bens)
        services.accounts.set_roles(anna.email, ("editor",))
        event = await receive(annas)
        assert (event["topic"], event["event"]) == (f"user:{anna.account.id}", "roles.changed")
        assert event["data"]["roles"] == ["editor"]
        another = anna.login()
        event = await receive(annas)
        assert (event["event"], event["data"]["sid"]) == ("session.started", another.sid)
        assert event["data"]["at"].endswith("Z")
        services.accounts.set_roles(ben.email, ("reader",))
        assert (await receive(bens))["data"]["roles"] == ["reader"]


async def test_a_fact_that_is_delivered_twice_arrives_once(bridge: Bridge, anna: Person, valkey: Valkey) -> None:
    def publish(fact_id: int) -> None:
        fact = events.Fact(events.ACCOUNT_CHANGED, anna.account.id, 1, None, {}, fact_id)
        with valkey.client() as client:
            client.publish(events.STREAM, events.dump(fact))

    async with bridge.socket(anna.browser()[1]) as socket:
        await greeted(socket)
        for fact_id in (901, 902, 901, 903):
            publish(fact_id)
        assert [(await receive(socket))["id"] for _ in range(3)] == ["901", "902", "903"]


@pytest.mark.parametrize(
    "message", [b"", b"x", b"[]", b"null", b'{"id":1}', b"\xff", b'{"name":5,"user":[],"at":{},"sid":1}']
)
async def test_other_messages_on_the_channel_do_no_harm(
    bridge: Bridge, anna: Person, valkey: Valkey, services: Services, message: bytes
) -> None:
    async with bridge.socket(anna.browser()[1]) as socket:
        await greeted(socket)
        with valkey.client() as client:
            client.publish(events.STREAM, message)
        services.accounts.set_roles(anna.email, ("editor",))
        assert (await receive(socket))["event"] == "roles.changed"


async def test_facts_that_are_not_for_users_do_not_reach_them(bridge: Bridge, anna: Person, valkey: Valkey) -> None:
    async with bridge.socket(anna.browser()[1]) as socket:
        await greeted(socket)
        with valkey.client() as client:
            for name in ("login.failed", "user.created", "sessions.x", events.ACCOUNT_CHANGED):
                client.publish(events.STREAM, events.dump(events.Fact(name, anna.account.id, 1)))
        assert (await receive(socket))["event"] == events.ACCOUNT_CHANGED


async def test_a_ping_is_answered(bridge: Bridge, anna: Person) -> None:
    async with bridge.socket(anna.browser()[1]) as socket:
        await greeted(socket)
        await socket.send(json.dumps({"type": "ping", "more": 1}))
        assert await receive(socket) == {"type": "pong"}


@pytest.mark.parametrize("frame", [{"type": "resume"}, {"type": "nothing"}, {"type": 5}, {"type": "\ud800"}, {}])
async def test_an_unknown_frame_is_answered_with_an_error(bridge: Bridge, anna: Person, frame: dict[str, Any]) -> None:
    async with bridge.socket(anna.browser()[1]) as socket:
        await greeted(socket)
        await socket.send(json.dumps(frame))
        assert (await receive(socket))["code"] == "unknown_type"
        await socket.send('{"type": "ping"}')
        assert await receive(socket) == {"type": "pong"}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("", 4400), (b"", 4400), (b'{"type":"ping"}', 4400), ("x", 4400), ("[]", 4400), ("null", 4400), ("1e999", 4400),
        ("[" * 8000, 4400), ('{"a":' * 2000 + "1" + "}" * 2000, 4400), ("9" * 8000, 4400), ("x" * 17_000, 1009),
    ],
)  # fmt: skip
async def test_what_is_no_frame_is_closed(bridge: Bridge, anna: Person, message: str | bytes, code: int) -> None:
    async with bridge.socket(anna.browser()[1]) as socket:
        await greeted(socket)
        await socket.send(message)
        assert await closed(socket) == code


async def test_a_message_in_fragments_is_one_message_and_has_its_limits(bridge: Bridge, anna: Person) -> None:
    async with bridge.socket(anna.browser()[1]) as socket:
        await greeted(socket)
        await socket.send(iter(['{"type":', ' "ping"}']))
        assert await receive(socket) == {"type": "pong"}
        await socket.send(iter(["{"] + [" "] * 62))
        assert await closed(socket) == 4400, "it arrived"
    async with bridge.socket(anna.browser()[1]) as socket:
        await greeted(socket)
        await socket.send(iter(["{"] + [" "] * 64))
        assert await closed(socket) == 1009


async def test_a_client_that_writes_too_fast_is_closed(bridge: Bridge, anna: Person) -> None:
    async with bridge.socket(anna.browser()[1]) as socket:
        await greeted(socket)
        with pytest.raises(ConnectionClosed):
            await flood(socket)
    assert socket.close_code == 4429


async def flood(socket: ClientConnection) -> None:
    for _ in range(Pace.MOST + 1):
        await socket.send('{"type":"ping"}')
    while True:
        await socket.recv()


def test_the_pace_of_a_client_is_forgiven_after_a_while() -> None:
    pace = Pace()
    assert [pace.too_fast(100.0) for _ in range(Pace.MOST + 1)] == [False] * Pace.MOST + [True]
    assert not pace.too_fast(100.0 + Pace.SECONDS)


async def test_a_session_has_only_so_many_connections(start_bridge: Callable[..., Bridge], anna: Person) -> None:
    bridge = start_bridge(sockets_per_session=2)
    cookie, other = anna.browser()[1], anna.browser()[1]
    async with bridge.socket(cookie) as first, bridge.stream(cookie):
        await greeted(first)
        async with bridge.socket(cookie) as third:
            assert await closed(third) == 4409
        refused = bridge.get(cookie)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert int(refused.headers["Retry-After"]) > 0
        async with bridge.socket(other) as another_session:
            await greeted(another_session)
    wait_for(lambda: bridge.connections == 0)
    async with bridge.socket(cookie) as again:
        await greeted(again)


async def test_a_quiet_socket_is_pinged(start_bridge: Callable[..., Bridge], anna: Person) -> None:
    bridge = start_bridge(heartbeat=1)
    answered = asyncio.Event()

    class Client(ClientConnection):
        def process_event(self, event: Any) -> None:
            if getattr(event, "opcode", None) is Opcode.PING:
                answered.set()
            super().process_event(event)

    async with bridge.socket(anna.browser()[1], create_connection=Client) as socket:
        assert (await greeted(socket))["heartbeat"] == 1
        await asyncio.wait_for(answered.wait(), 10)


@pytest.mark.parametrize("path", ["/", "/ws/", "/wss", "/events"])
async def test_there_is_no_socket_on_another_path(bridge: Bridge, anna: Person, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{bridge.port}{path}", origin=ORIGIN, proxy=None)
    assert refused.value.response.status_code in (400, 404)
