"""What a stream may expect: who is let in, the events, the heartbeat, the refusals."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from authsvc.core.crypto import new_token, write_token
from authsvc.services import Services
from tests.bridge.conftest import BOUND, Bridge, Person
from tests.conftest import ORIGIN
from tests.servers import wait_for

TRUSTED = "https://app.example.org"
EVIL = "https://evil.example"


async def test_a_stream_says_what_it_is(bridge: Bridge, anna: Person) -> None:
    async with bridge.stream(anna.browser()[1]) as stream:
        headers = stream.response.headers
    assert stream.response.status_code == 200
    assert headers["Content-Type"].startswith("text/event-stream")
    assert headers["Cache-Control"] == "no-store"
    assert "Cookie" in headers["Vary"]
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "server" not in headers


async def test_what_happens_to_a_user_reaches_their_streams(bridge: Bridge, anna: Person, services: Services) -> None:
    async with bridge.stream(anna.browser()[1]) as stream:
        services.accounts.set_roles(anna.email, ("editor",))
        name, data = await stream.next()
    assert (name, data["roles"]) == ("roles.changed", ["editor"])


async def test_a_stream_on_the_wire_is_as_the_standard_says(
    start_bridge: Callable[..., Bridge], anna: Person, services: Services
) -> None:
    bridge = start_bridge(heartbeat=1)
    headers = {"Cookie": f"session={anna.browser()[1]}"}
    async with httpx.AsyncClient(timeout=BOUND) as http, http.stream("GET", bridge.url, headers=headers) as response:
        text = response.aiter_text()
        assert await anext(text) == "retry: 3000\n\n"
        assert await anext(text) == ":\n\n", "a comment keeps it alive"
        services.accounts.set_roles(anna.email, ("editor",))
        lines = (await anext(text)).split("\n")
    assert lines[0].startswith("id: ")
    assert lines[1] == "event: roles.changed"
    assert lines[2].startswith('data: {"roles":["editor"]')
    assert lines[3:] == ["", ""]


async def test_without_a_live_session_the_answer_is_204(bridge: Bridge, anna: Person, services: Services) -> None:
    token, cookie = anna.browser()
    services.sessions.logout(token)
    stolen = write_token(services.keyring, new_token(anna.login().sid))
    for dead in ("", "x", "A" * 88, cookie, stolen):
        answer = bridge.get(dead)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["Cache-Control"] == "no-store"


async def test_two_cookies_of_our_name_are_refused(bridge: Bridge, anna: Person) -> None:
    mine, planted = anna.browser()[1], anna.browser()[1]
    assert bridge.get(Cookie=f"session={mine}; session={planted}").status_code == 204


@pytest.mark.promise("B8")
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL}, {"Origin": "null"}, {"Origin": f"{ORIGIN}.evil.example"}, {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
    ],
)  # fmt: skip
def test_a_page_of_another_origin_gets_no_stream(bridge: Bridge, anna: Person, headers: dict[str, str]) -> None:
    refused = bridge.get(anna.browser()[1], **headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "cross_site")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert "Access-Control-Allow-Origin" not in refused.headers


@pytest.mark.parametrize("headers", [{"Origin": ORIGIN}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}])
async def test_our_own_pages_get_a_stream(bridge: Bridge, anna: Person, headers: dict[str, str]) -> None:
    async with bridge.stream(anna.browser()[1], **headers) as stream:
        assert stream.response.status_code == 200


@pytest.mark.promise("B8")
async def test_a_trusted_origin_gets_a_stream_and_may_read_it(
    start_bridge: Callable[..., Bridge], anna: Person
) -> None:
    bridge = start_bridge(trusted_origins=(TRUSTED,))
    async with bridge.stream(anna.browser()[1], **{"Origin": TRUSTED, "Sec-Fetch-Site": "same-site"}) as stream:
        headers = stream.response.headers
    assert headers["Access-Control-Allow-Origin"] == TRUSTED
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert "Origin" in headers["Vary"]
    assert bridge.get(Origin=TRUSTED).headers["Access-Control-Allow-Origin"] == TRUSTED, "204 as well"


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE", "OPTIONS", "PUT"])
def test_a_stream_is_only_got(bridge: Bridge, anna: Person, method: str) -> None:
    answer = httpx.request(method, bridge.url, headers={"Cookie": f"session={anna.browser()[1]}"}, timeout=BOUND)
    assert (answer.status_code, "GET" in answer.headers["Allow"]) == (405, True)


def test_there_is_nothing_on_other_paths(bridge: Bridge) -> None:
    answer = httpx.get(f"http://127.0.0.1:{bridge.port}/nothing", timeout=BOUND)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_client_that_goes_away_leaves_nothing_behind(bridge: Bridge, anna: Person) -> None:
    cookie = anna.browser()[1]
    async with bridge.stream(cookie), bridge.socket(cookie):
        wait_for(lambda: bridge.connections == 2)
    wait_for(lambda: bridge.connections == 0)
    await asyncio.sleep(0)
    assert not bridge.parts.hub._users
