"""The whole road of a stranger, with real mails."""

import asyncio
import io
import json
import os
import re
import secrets
import signal
import zipfile

import httpx
import pytest

from tests.servers import wait_for
from tests.system.browser import PATIENCE, Browser, close_code, frame
from tests.system.stack import PARTS, Run, Stack, only

PASSWORD, NEW_PASSWORD = "tessellated-otter-quay", "granite-lantern-umbrella"

by_smtp = pytest.mark.parametrize("stack", ["run_smtp", "parts"], indirect=True)
by_every_mail = pytest.mark.parametrize("stack", ["run", "run_smtp", "parts"], indirect=True)


def new_address() -> str:
    return f"stranger-{secrets.token_hex(6)}@example.org"


def link(stack: Stack, address: str, path: str) -> str:
    """The address that a mail asks its reader to open, once the mail has come; that of the newest."""

    def found() -> list[str]:
        return re.findall(rf"https?://\S+{path}\?token=\S+", "\n".join(stack.mails_to(address)))

    wait_for(lambda: bool(found()), seconds=20)
    return found()[-1]


def token(opened: str) -> str:
    return opened.partition("token=")[2]


async def scanned(stack: Stack, opened: str) -> str:
    """The token of a link that a scanner of mails has opened before its reader: a program without a cookie, twice."""
    async with httpx.AsyncClient(verify=stack.tls or True, trust_env=False, follow_redirects=True) as scanner:
        for method in ("HEAD", "GET", "GET"):
            answer = await scanner.request(method, opened)
            assert (answer.status_code, str(answer.url)) == (200, opened)
    return token(opened)


async def assert_used(browser: Browser, opened: str, path: str, **more: str) -> None:
    """A link that was used is refused, to a program and on its page."""
    answer = await browser.post(path, json={"token": token(opened), **more})
    assert (answer.status_code, answer.json()["code"]) == (400, "token_invalid")
    assert (await browser.get(opened)).status_code == 400


async def register(browser: Browser, address: str) -> None:
    """By JSON, and by the link of the mail."""
    asked = await browser.post("/api/register", json={"email": address, "password": PASSWORD, "name": "Ann"})
    assert (asked.status_code, asked.json()["status"]) == (202, "verification_sent")
    opened = link(browser.stack, address, "/verify-email")
    proof = {"token": await scanned(browser.stack, opened)}
    early = await browser.post("/api/login", json={"email": address, "password": PASSWORD})
    assert (early.status_code, early.json()["code"]) == (403, "email_unverified")
    assert (await browser.post("/api/email/verify", json=proof)).status_code == 204
    await assert_used(browser, opened, "/api/email/verify")


@by_every_mail
@pytest.mark.promise("R1")
async def test_a_stranger_comes_in_forgets_the_password_and_comes_back(stack: Stack) -> None:
    address = new_address()
    async with Browser(stack) as first, Browser(stack) as second:
        await register(first, address)
        await first.log_in(address, PASSWORD)
        async with first.socket() as socket:
            await frame(socket, "hello")

            asked = await second.post("/api/password/forgot", json={"email": address})
            assert asked.status_code == 202
            opened = link(stack, address, "/password/reset")
            reset = {"token": await scanned(stack, opened), "password": NEW_PASSWORD}
            assert (await first.get("/api/session")).status_code == 200
            assert (await second.post("/api/password/reset", json=reset)).status_code == 204

            async with asyncio.timeout(PATIENCE):
                assert await close_code(socket) == 4401
        assert (await first.get("/api/session")).status_code == 401
        await assert_used(second, opened, "/api/password/reset", password=PASSWORD)
        old = await second.post("/api/login", json={"email": address, "password": PASSWORD})
        assert (old.status_code, old.json()["code"]) == (401, "invalid_credentials")
        sid = await first.log_in(address, NEW_PASSWORD)
        assert await first.sids() == {sid}


@by_smtp
@pytest.mark.promise("R1")
async def test_who_is_told_of_a_login_from_a_new_device_can_end_it_and_it_alone(stack: Stack) -> None:
    email = new_address()
    async with Browser(stack) as owner, Browser(stack) as thief, Browser(stack) as reader:
        await register(owner, email)
        own = await owner.log_in(email, PASSWORD)
        stolen = await thief.log_in(email, PASSWORD)
        async with thief.socket() as socket:
            await frame(socket, "hello")
            opened = link(stack, email, "/not-me")
            disown = {"token": await scanned(stack, opened)}
            assert await owner.sids() == {own, stolen}

            answer = await reader.post("/api/sessions/disown", json=disown)

            assert answer.status_code == 200
            async with asyncio.timeout(PATIENCE):
                assert await close_code(socket) == 4401
        assert (await thief.get("/api/session")).status_code == 401
        assert await owner.sids() == {own}
        await assert_used(reader, opened, "/api/sessions/disown")
        reset = {"token": answer.json()["token"], "password": NEW_PASSWORD}
        assert (await reader.post("/api/password/reset", json=reset)).status_code == 204
        await owner.log_in(email, NEW_PASSWORD)


async def test_a_copy_of_everything_is_made_while_the_page_watches(stack: Stack) -> None:
    email = new_address()
    async with Browser(stack) as browser, Browser(stack) as stranger:
        await register(browser, email)
        await browser.log_in(email, PASSWORD)
        async with browser.events() as source, asyncio.timeout(2 * PATIENCE):
            asked = await browser.post("/api/account/export")
            assert asked.status_code == 202
            task, told = asked.json()["task"], []
            async for event in source.aiter_sse():
                if event.event == "task.changed":
                    told.append(json.loads(event.data))
                    if told[-1]["state"] == "done":
                        break
        assert {each["task"] for each in told} == {task}
        done = (await browser.get(f"/api/tasks/{task}")).json()
        assert (done["state"], done["progress"]) == ("done", 100)
        file = await browser.get(done["result"])
        assert (await stranger.get(done["result"])).status_code == 401
    assert (file.status_code, file.headers["Content-Type"]) == (200, "application/zip")
    packed = zipfile.ZipFile(io.BytesIO(file.content))
    assert packed.testzip() is None
    content = {name: json.loads(packed.read(name)) for name in packed.namelist()}
    assert [(each["email"], each["name"]) for each in content["account.json"]] == [(email, "Ann")]
    assert len(content["sessions.json"]) == 1


@pytest.mark.promise("L4")
async def test_a_mail_comes_though_the_worker_was_killed_before_it(doomed: Stack) -> None:
    address = new_address()
    wait_for(lambda: "The worker takes jobs." in doomed.logs(), seconds=20)
    worker = only(PARTS[1], doomed.instance) if isinstance(doomed, Run) else doomed.server_of("worker").process.pid
    async with Browser(doomed) as browser:
        os.kill(worker, signal.SIGSTOP)
        asked = await browser.post("/api/register", json={"email": address, "password": PASSWORD})
        assert asked.status_code == 202
        os.kill(worker, signal.SIGKILL)
        assert doomed.mails_to(address) == []

        if not isinstance(doomed, Run):  # whoever runs the parts starts it again
            doomed.server_of("worker").process.wait()
            doomed.server_of("worker").start()

        proof = {"token": token(link(doomed, address, "/verify-email"))}
        assert (await browser.post("/api/email/verify", json=proof)).status_code == 204
        await browser.log_in(address, PASSWORD)
    assert len(doomed.mails_to(address)) == 1
