"""B1: no frame gives 1011, no header a 5xx, and nothing of it is a fault in the log."""

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from authsvc.core.store import Found
from tests.bridge.conftest import BOUND, Bridge, Person
from tests.bridge.raw import UPGRADE, Raw, close_code, frame
from tests.conftest import ORIGIN
from tests.servers import wait_for

pytestmark = [pytest.mark.promise("B1"), pytest.mark.timeout(120)]
FUZZ = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
known = st.sampled_from(["ping", "resume", "subscribe", "unsubscribe", "auth", "hello", "event", "publish"])
frames = st.fixed_dictionaries({"type": known | json_values}, optional={"topics": json_values, "cursor": json_values})
messages = st.one_of(
    frames.map(json.dumps),
    json_values.map(json.dumps),
    st.text(max_size=200),
    st.binary(max_size=200),
    st.sampled_from(["", b"", '{"type":"ping"', "\ufeff{}", "NaN", "\0"]),
)


@pytest.fixture
def quiet(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> Any:
    """The bridge; at the end of the test nothing may have been logged."""
    yield bridge
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


@FUZZ
@given(sent=st.lists(messages, min_size=1, max_size=6))
@example(sent=["x" * 16_385])
@example(sent=[b"\0" * 20_000])
@example(sent=["[" * 16_000])
@example(sent=[json.dumps({"type": "\ud800"}), b""])
def test_no_message_is_our_bug(quiet: Bridge, cookie: str, sent: list[str | bytes]) -> None:
    with connect(
        f"ws://127.0.0.1:{quiet.port}/ws", origin=ORIGIN, additional_headers={"Cookie": f"session={cookie}"},
        proxy=None, compression=None, close_timeout=BOUND,
    ) as socket:  # fmt: skip
        assert json.loads(socket.recv(BOUND))["type"] == "hello"
        assert outcome(socket, sent) in ("pong", 4400, 1009)


def outcome(socket: ClientConnection, sent: list[str | bytes]) -> str | int:
    """What comes of some messages: an answer to the ping after them, or the code of a close."""
    try:
        for message in sent:
            socket.send(message)
        socket.send('{"type":"ping"}')
        while json.loads(socket.recv(BOUND)) != {"type": "pong"}:
            pass
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else 1006
    return "pong"


wire = st.one_of(
    st.binary(max_size=300),
    st.builds(frame, st.integers(0, 15), st.binary(max_size=130), fin=st.booleans()),
    st.builds(lambda text: frame(1, text), st.binary(max_size=20)),
    st.builds(lambda code: frame(8, code), st.binary(max_size=4)),
)


@FUZZ
@given(parts=st.lists(wire, min_size=1, max_size=5))
@example(parts=[frame(0, b"")])
@example(parts=[frame(1, b"\xff\xfe")])
@example(parts=[frame(1, b"\xc3", fin=False), frame(0, b"\x28")])
@example(parts=[frame(1, b"", fin=False)] * 2)
@example(parts=[frame(8, b"\x03\xe8\xff")])
@example(parts=[frame(9, b"x" * 126)])
@example(parts=[b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff"])
def test_no_bytes_on_a_socket_are_our_bug(quiet: Bridge, cookie: str, parts: list[bytes]) -> None:
    with Raw(quiet.port) as client:
        client.open("ws", cookie)
        client.send(b"".join(parts))
        client.finish()
        assert close_code(client.rest()) not in (1011, 1006, 500)


@pytest.mark.parametrize(
    "early",
    [frame(1, b'{"type":"ping"}'), frame(8, b"\x03\xe8"), frame(9, b""), b"\xff" * 20, b"GET / HTTP/1.1\r\n\r\n"],
)
def test_a_client_that_does_not_wait_for_the_handshake_is_cut_off(quiet: Bridge, cookie: str, early: bytes) -> None:
    async def slow(sid: str) -> Found:
        await asyncio.sleep(0.5)
        return await quiet.sql.select(sid)

    quiet.sql.hook = slow
    head = f"GET /ws HTTP/1.1\r\nHost: x\r\nOrigin: {ORIGIN}\r\nCookie: session={cookie}\r\n{UPGRADE}\r\n"
    with Raw(quiet.port) as client:
        client.send(head.encode())
        wait_for(lambda: quiet.sql.loads)
        client.send(early)
        wait_for(client.gone)
        assert client.rest() == b""


latin = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=120)
header_values = st.one_of(
    latin,
    latin.map(lambda text: f"session={text}"),
    st.sampled_from(
        ["session=", "session=a; session=b", "session=" + "A" * 4096, 'session="\\377\\000"', "=; ;=", "\0", ORIGIN,
         "session=" + "A" * 9000, "null", "x" * 64 + ".example"]
    ),
    st.text("AB-_=", min_size=88, max_size=88).map(lambda text: f"session={text}"),
)  # fmt: skip
headers = st.lists(
    st.tuples(
        st.sampled_from(
            ["Cookie", "Origin", "Sec-Fetch-Site", "Host", "Last-Event-ID", "Accept", "Sec-WebSocket-Protocol", "Range",
             "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Upgrade", "Content-Length", "Transfer-Encoding", "Expect"]
        ),
        header_values,
    ),
    max_size=5,
)  # fmt: skip
targets = st.one_of(
    st.sampled_from(
        ["/ws", "/events", "/ws?token=x", "/events?a=%ff%00", "/", "*", "//ws", "/%2e%2e/ws", "http://x/ws"]
    ),
    latin.map(lambda text: "/" + text.replace(" ", "")),
)


@FUZZ
@given(target=targets, extra=headers, upgrade=st.booleans(), method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS"]))
@example(target="/ws", extra=[("Cookie", "session=" + "A" * 9000)], upgrade=True, method="GET")
@example(target="/events", extra=[("Cookie", "session=" + "A" * 70_000)], upgrade=False, method="GET")
@example(target="/events?\xff", extra=[("Host", "x" * 64)], upgrade=False, method="GET")
@example(target="/w\xff", extra=[], upgrade=True, method="GET")
@example(target="http://x/ws", extra=[], upgrade=True, method="GET")
def test_no_request_gives_a_5xx(
    quiet: Bridge, target: str, extra: list[tuple[str, str]], upgrade: bool, method: str
) -> None:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in extra)]
    lines += [] if upgrade else ["Connection: close"]
    request = "\r\n".join(lines) + "\r\n" + (UPGRADE if upgrade else "") + "\r\n"
    with Raw(quiet.port) as client:
        client.send(request.encode("latin-1"))
        client.finish()
        answer = client.rest()
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert not answer or answer[9:10] in b"1234", answer[:200]


@pytest.fixture
def cookie(anna: Person) -> str:
    return anna.browser()[1]


def test_a_handshake_with_a_very_long_header_is_answered(quiet: Bridge) -> None:
    with Raw(quiet.port) as client:
        client.send(f"GET /ws HTTP/1.1\r\nHost: x\r\nCookie: session={'A' * 9000}\r\n{UPGRADE}\r\n".encode())
        assert client.rest().startswith(b"HTTP/1.1 431 ")
