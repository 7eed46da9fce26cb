"""The whole road of a stranger, with real mails."""

import io
import json
import os
import re
import secrets
import signal
import zipfile

import pytest

from tests.servers import wait_for
from tests.system.browser import Browser, close_code, frame
from tests.system.stack import PARTS, Run, Stack, only

PASSWORD, NEW_PASSWORD = "tessellated-otter-quay", "granite-lantern-umbrella"


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


async def register(browser: Browser, address: str) -> None:
    """By form, and by the link of the mail, which a scanner has opened before."""
    asked = await browser.post("/register", data={"email": address, "password": PASSWORD, "name": "Ann"})
    assert asked.status_code == 303
    opened = link(browser.stack, address, "/verify-email")
    assert (await browser.get(opened)).status_code == 200
    proof = {"token": token(opened)}
    assert (await browser.post("/api/email/verify", json=proof)).status_code == 204
    assert (await browser.post("/api/email/verify", json=proof)).json()["code"] == "token_invalid"


@pytest.mark.promise("R1")
async def test_a_stranger_comes_in_forgets_the_password_and_comes_back(stack: Stack) -> None:
    address = new_address()
    async with Browser(stack) as first, Browser(stack) as second, Browser(stack) as third:
        await register(first, address)
        await first.log_in(address, PASSWORD)
        async with first.socket() as socket:
            await frame(socket, "hello")

            await second.post("/api/password/forgot", json={"email": address})
            opened = link(stack, address, "/password/reset")
            reset = {"token": token(opened), "password": NEW_PASSWORD}
            assert (await second.get(opened)).status_code == 200
            assert (await second.post("/api/password/reset", json=reset)).status_code == 204

            assert await close_code(socket) == 4401
        assert (await first.get("/api/session")).status_code == 401
        assert (await second.post("/api/password/reset", json=reset)).json()["code"] == "token_invalid"
        old = await second.post("/api/login", json={"email": address, "password": PASSWORD})
        assert old.status_code == 401

        await first.log_in(address, NEW_PASSWORD)
        thief = await third.log_in(address, NEW_PASSWORD)
        disown = {"token": token(link(stack, address, "/not-me"))}
        assert thief in await first.sids()
        answer = await first.post("/api/sessions/disown", json=disown)
        assert answer.json().keys() >= {"token"}
        assert (await third.get("/api/session")).status_code == 401


async def test_a_copy_of_everything_is_made_while_the_page_watches(stack: Stack) -> None:
    email = stack.new_user("--name", "Ann")
    async with Browser(stack) as browser:
        await browser.log_in(email)
        async with browser.events() as source:
            events = source.aiter_sse()
            task = (await browser.post("/api/account/export")).json()["task"]
            async for event in events:
                if event.event == "task.changed" and json.loads(event.data)["state"] == "done":
                    break
        result = (await browser.get(f"/api/tasks/{task}")).json()["result"]
        packed = zipfile.ZipFile(io.BytesIO((await browser.get(result)).content))
    assert packed.testzip() is None
    assert email in "".join(packed.read(name).decode() for name in packed.namelist())


@pytest.mark.promise("L4")
async def test_a_mail_comes_though_the_worker_was_killed_before_it(run: Run) -> None:
    run.start()
    address, worker = new_address(), only(PARTS[1], run.instance)
    async with Browser(run) as browser:
        os.kill(worker, signal.SIGSTOP)
        await browser.post("/register", data={"email": address, "password": PASSWORD, "name": "Ann"})
        os.kill(worker, signal.SIGKILL)
    assert token(link(run, address, "/verify-email"))
