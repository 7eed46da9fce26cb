"""Log in once and everything knows; log out once and everything forgets. Real servers, clients written by others."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from httpx_sse import EventSource
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import PASSWORD
from tests.system.browser import PATIENCE, Browser, close_code, event, frame, last_event
from tests.system.stack import Stack

ENDED = ("session", {"state": "ended"})


@dataclass
class Tab:
    """A page that is open: its browser, with a socket and an event stream."""

    browser: Browser
    sid: str
    socket: ClientConnection
    stream: EventSource


@asynccontextmanager
async def open_tab(stack: Stack, email: str) -> AsyncIterator[Tab]:
    async with Browser(stack) as browser:
        sid = await browser.log_in(email)
        async with browser.socket() as socket, browser.events() as stream:
            assert (await frame(socket, "hello"))["sid"] == sid
            assert stream.response.status_code == 200
            yield Tab(browser, sid, socket, stream)


async def assert_dead(tab: Tab, token: str) -> None:
    """Cookie, socket and stream of an ended session, those that were open and new ones."""
    async with asyncio.timeout(PATIENCE):
        assert await close_code(tab.socket) == 4401
        name, data = await last_event(tab.stream)
        assert (name, json.loads(data)) == ENDED
        async with Browser(tab.browser.stack, token) as stolen:
            answer = await stolen.get("/api/session")
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
            assert (await stolen.get("/events")).status_code == 204
            async with stolen.socket() as socket:
                assert await close_code(socket) == 4401


async def assert_alive(tab: Tab) -> None:
    async with asyncio.timeout(PATIENCE):
        assert (await tab.browser.get("/api/session")).json()["session"]["sid"] == tab.sid
        await tab.socket.send(json.dumps({"type": "ping"}))
        await frame(tab.socket, "pong")
        async with tab.browser.events() as stream:
            assert stream.response.status_code == 200


async def test_two_browsers_log_in_by_form_and_by_json_and_see_both_sessions(stack: Stack) -> None:
    email = stack.new_user("--name", "Ada", "--role", "admin")
    async with Browser(stack) as form, Browser(stack) as program:
        sids = {await form.log_in_by_form(email), await program.log_in(email)}

        assert len(sids) == 2
        assert await form.sids() == await program.sids() == sids
        page = await form.get("/account")
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert email in page.text
        user = (await program.get("/api/session")).json()["user"]
        assert (user["email"], user["name"], user["roles"]) == (email, "Ada", ["admin"])


@pytest.mark.promise("R1")
async def test_a_logout_kills_all_of_its_session_and_nothing_of_the_other(stack: Stack) -> None:
    email = stack.new_user()
    async with open_tab(stack, email) as leaving, open_tab(stack, email) as staying:
        token = leaving.browser.token

        answer = await leaving.browser.post("/api/logout")

        assert answer.status_code == 204
        await assert_dead(leaving, token)
        assert (await event(staying.socket, "session.ended"))["data"]["sid"] == leaving.sid
        await assert_alive(staying)
        assert await staying.browser.sids() == {staying.sid}


@pytest.mark.promise("R1")
async def test_a_logout_by_form_kills_the_same(stack: Stack) -> None:
    async with open_tab(stack, stack.new_user()) as tab:
        token = tab.browser.token

        answer = await tab.browser.post("/logout")

        assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
        await assert_dead(tab, token)


@pytest.mark.promise("R7")
async def test_ending_the_others_kills_exactly_them(stack: Stack) -> None:
    email = stack.new_user()
    async with open_tab(stack, email) as own, open_tab(stack, email) as one, open_tab(stack, email) as two:
        tokens = [tab.browser.token for tab in (one, two)]

        answer = await own.browser.delete("/api/sessions")

        assert (answer.status_code, answer.json()) == (200, {"ended": 2})
        for tab, token in zip((one, two), tokens, strict=True):
            await assert_dead(tab, token)
        await assert_alive(own)


@pytest.mark.promise("R7")
async def test_a_user_who_is_disabled_on_the_command_line_is_out_at_once_and_nobody_else(stack: Stack) -> None:
    email, bystander = stack.new_user(), stack.new_user()
    async with open_tab(stack, email) as one, open_tab(stack, email) as two, open_tab(stack, bystander) as other:
        tokens = [tab.browser.token for tab in (one, two)]

        assert stack.told("user", "disable", email) == {"ended": 2, "final_by": None}

        for tab, token in zip((one, two), tokens, strict=True):
            await assert_dead(tab, token)
        await assert_alive(other)
        async with Browser(stack) as browser:
            answer = await browser.post("/api/login", json={"email": email, "password": PASSWORD})
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")


@pytest.mark.promise("R1")
async def test_a_session_that_is_ended_on_the_command_line_is_dead_at_once(stack: Stack) -> None:
    email = stack.new_user()
    async with open_tab(stack, email) as ended, open_tab(stack, email) as other:
        token = ended.browser.token

        stack.told("session", "end", ended.sid)

        await assert_dead(ended, token)
        await assert_alive(other)
        listed = stack.told("session", "list", "--user", email)["sessions"]
        assert [each["sid"] for each in listed] == [other.sid]


async def test_new_roles_reach_an_open_page(stack: Stack) -> None:
    email = stack.new_user()
    async with open_tab(stack, email) as tab:
        stack.told("user", "roles", email, "editor")

        async with asyncio.timeout(PATIENCE):
            assert (await event(tab.socket, "roles.changed"))["data"]["roles"] == ["editor"]
        assert (await tab.browser.get("/api/session")).json()["user"]["roles"] == ["editor"]


async def test_a_login_elsewhere_reaches_an_open_page(stack: Stack) -> None:
    email = stack.new_user()
    async with open_tab(stack, email) as tab, Browser(stack) as elsewhere:
        sid = await elsewhere.log_in(email)

        async with asyncio.timeout(PATIENCE):
            while (await event(tab.socket, "session.started"))["data"]["sid"] != sid:
                continue  # the tab's own login


async def test_a_client_does_not_choose_its_address(stack: Stack) -> None:
    async with Browser(stack) as browser:
        browser.headers["X-Forwarded-For"] = "203.0.113.9"
        browser.headers["X_Forwarded_For"] = "203.0.113.9"
        await browser.log_in(stack.new_user())

        (session,) = (await browser.get("/api/sessions")).json()["sessions"]

        assert session["ip"] == "127.0.0.1"


async def test_a_body_of_unknown_length_is_read(stack: Stack) -> None:
    email = stack.new_user()

    async def body() -> AsyncIterator[bytes]:
        yield json.dumps({"email": email}).encode()[:-1]
        yield b', "password": "correct horse battery staple"}'

    async with Browser(stack) as browser:
        answer = await browser.post("/api/login", content=body(), headers={"Content-Type": "application/json"})

    assert answer.status_code == 200


@pytest.mark.promise("B1")
@pytest.mark.parametrize(
    "target",
    ["/?q=\xff\xfe", "/%ff%fe", "/login?next=%00", "/%2e%2e/%2e%2e/etc/passwd", "//evil.example/", "/healthz?\x7f"],
)
async def test_an_odd_address_is_no_server_error(target: str, stack: Stack) -> None:
    host, port = httpx.URL(stack.url).host, httpx.URL(stack.url).port
    reader, writer = await asyncio.open_connection(host, port, ssl=stack.tls)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1"))

    status = (await asyncio.wait_for(reader.readline(), PATIENCE)).split()[1]
    writer.close()
    await writer.wait_closed()

    assert status < b"500"


@pytest.mark.promise("B1")
@pytest.mark.parametrize("stack", ["run"], indirect=True)
async def test_a_socket_on_another_path_is_told_so(stack: Stack) -> None:
    async with connect(stack.socket_url + "/other", origin=stack.url, proxy=None) as socket:
        assert await close_code(socket) == 4404


@pytest.mark.promise("B1")
@pytest.mark.parametrize("body", [b"{", b'{"email": 1}' + b"x" * 1000], ids=["cut off", "longer than announced"])
async def test_a_body_of_another_length_than_announced_harms_nobody(body: bytes, stack: Stack) -> None:
    url = httpx.URL(stack.url)
    _, writer = await asyncio.open_connection(url.host, url.port, ssl=stack.tls)
    writer.write(f"POST /api/login HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: application/json\r\n".encode())
    writer.write(b"Content-Length: 12\r\n\r\n" + body)
    await writer.drain()
    writer.transport.abort()

    async with Browser(stack) as browser:
        assert await browser.log_in(stack.new_user())
    assert "Traceback" not in stack.logs()
