"""`authsvc run` survives kill -9 of itself and of everything that it has started."""

import asyncio
import os
import signal

import pytest

from authsvc.core.events import STREAM
from tests.servers import wait_for
from tests.system.browser import PATIENCE, Browser, close_code, event, frame
from tests.system.stack import PARTS, Run, only, parts_of, processes_of


def all_parts_run_once(run: Run) -> bool:
    commands = list(parts_of(run.instance).values())
    return len(commands) == len(PARTS) and all(any(part in command for command in commands) for part in PARTS)


def kill(run: Run, *parts: str) -> None:
    for part in parts:
        os.kill(only(part, run.instance), signal.SIGKILL)
    if PARTS[0] in parts:
        run.server.process.wait()


@pytest.mark.promise("R6")
@pytest.mark.parametrize("parts", [PARTS, PARTS[:1], (PARTS[0], PARTS[2])])
async def test_after_a_kill_a_start_cleans_up_and_nobody_is_logged_out(parts: tuple[str, ...], run: Run) -> None:
    email = run.start().new_user()
    async with Browser(run) as living, Browser(run) as ended:
        sid = await living.log_in(email)
        await ended.log_in(email)
        token = ended.token
        await ended.post("/api/logout")

        kill(run, *parts)
        run.start()

        assert (await living.get("/api/session")).json()["session"]["sid"] == sid
        async with Browser(run, token) as stolen:
            assert (await stolen.get("/api/session")).status_code == 401
        wait_for(lambda: all_parts_run_once(run))  # the worker before it takes a moment to end
        assert run.server.stop() == 0
        assert processes_of(run.instance) == {}


def test_a_worker_whose_parent_was_killed_ends_by_itself(run: Run) -> None:
    run.start()

    kill(run, PARTS[0])

    wait_for(lambda: not any(PARTS[1] in command for command in processes_of(run.instance).values()))


@pytest.mark.promise("L2")
async def test_a_killed_valkey_is_started_again_and_nobody_is_logged_out(run: Run) -> None:
    email = run.start().new_user()
    async with Browser(run) as browser, Browser(run) as other:
        sid = await browser.log_in(email)
        await other.log_in(email)
        before = only(PARTS[2], run.instance)

        kill(run, PARTS[2])

        assert (await browser.get("/api/session")).json()["session"]["sid"] == sid  # from SQL
        wait_for(lambda: only(PARTS[2], run.instance) != before)
        with run.redis() as client:
            wait_for(lambda: client.pubsub_numsub(STREAM)[0][1])  # the bridge listens again
        async with browser.socket() as socket_:
            await frame(socket_, "hello")
            await other.post("/api/logout")
            async with asyncio.timeout(PATIENCE):
                await event(socket_, "session.ended")


@pytest.mark.promise("R1")
async def test_a_logout_while_valkey_is_away_reaches_open_sockets_when_it_is_back(run: Run) -> None:
    email = run.start().new_user()
    async with Browser(run) as browser:
        await browser.log_in(email)
        async with browser.socket() as socket_:
            await frame(socket_, "hello")
            kill(run, PARTS[2])

            answer = await browser.post("/api/logout")

            assert answer.status_code in (202, 204)  # 204 where Valkey is back already
            async with asyncio.timeout(PATIENCE):
                assert await close_code(socket_) == 4401


def test_a_killed_worker_is_started_again(run: Run) -> None:
    run.start()
    before = only(PARTS[1], run.instance)

    kill(run, PARTS[1])

    wait_for(lambda: only(PARTS[1], run.instance) != before)


@pytest.mark.promise("L2")
async def test_a_file_that_valkey_cannot_read_costs_nothing(run: Run) -> None:
    email = run.start().new_user()
    async with Browser(run) as browser:
        sid = await browser.log_in(email)
        kill(run, *PARTS)
        for path in (run.instance / "valkey").rglob("*.aof"):
            path.write_bytes(b"what a power cut left" * 100)

        run.start()

        with run.redis() as client:
            wait_for(client.ping)
        assert (await browser.get("/api/session")).json()["session"]["sid"] == sid
