"""What operators see of a running service."""

import json
import os
import re
import signal
import sys
import time
from typing import Any

import httpx

from authsvc import health
from authsvc.core import request_ids
from authsvc.db import Database
from authsvc.domain import jobs
from tests.servers import free_port, wait_for
from tests.system.browser import Browser, close_code, frame
from tests.system.stack import PARTS, Run, Server, Stack, only, parts_of, processes_of
from tests.system.test_accounts import PASSWORD, new_address


async def test_one_id_leads_through_web_job_and_bridge(stack: Stack) -> None:
    address, email = new_address(), stack.new_user()
    async with Browser(stack) as browser:
        asked = await browser.post("/api/register", json={"email": address, "password": PASSWORD})
        await browser.log_in(email)
        async with browser.socket() as socket:
            await frame(socket, "hello")
            left = await browser.post("/api/logout")
            assert await close_code(socket) == 4401
    wait_for(lambda: len(stack.mails_to(address)) == 1, seconds=20)

    def lines(answer: httpx.Response) -> str:
        wanted = answer.headers[request_ids.HEADER]
        return "\n".join(line for line in stack.logs().splitlines() if wanted in line)

    wait_for(lambda: "/api/register" in lines(asked) and "job done" in lines(asked))
    wait_for(lambda: "/api/logout" in lines(left) and "session ended" in lines(left))


async def test_figures_are_those_of_all_processes(stack: Stack) -> None:
    answered = 'authsvc_http_request_seconds_count{method="GET",route="/api/docs",status="200"}'
    sent = 'authsvc_mails_total{outcome="sent",template="verify_email"}'
    before, mails = stack.figure(answered), stack.figure(sent, "worker")
    address = new_address()
    async with Browser(stack) as browser:
        for _ in range(20):
            async with Browser(stack) as each:  # a connection of its own, to whichever process takes it
                await each.get("/api/docs")
        await browser.post("/api/register", json={"email": address, "password": PASSWORD})
        await browser.log_in(stack.new_user())
        sockets = stack.figure('authsvc_connections{kind="socket"}', "bridge")
        async with browser.socket() as socket:
            await frame(socket, "hello")
            wait_for(lambda: stack.figure('authsvc_connections{kind="socket"}', "bridge") == sockets + 1)

    assert stack.figure(answered) == before + 20
    wait_for(lambda: stack.figure(sent, "worker") == mails + 1, seconds=20)
    wait_for(lambda: stack.figure('authsvc_facts_delivered_total{by="relay",name="session.started"}', "worker") > 0)
    wait_for(lambda: stack.operations("/readyz").status_code == httpx.codes.OK)


def test_a_worker_that_lives_and_does_nothing_is_told_in_words(run: Run) -> None:
    run.start()
    wait_for(lambda: "job done" in run.logs(), seconds=20)  # the clean-up that a first start has: all is idle then
    worker = only(PARTS[1], run.instance)
    idle = [pid for pid in processes_of(run.instance).keys() - parts_of(run.instance) if os.getsid(pid) == worker]
    assert idle
    for pid in idle:
        os.kill(pid, signal.SIGSTOP)  # those that do its jobs; the relay goes on and says that it is alive
    db = Database(run.database_url)
    with db.transaction() as sql:
        jobs.add(sql, jobs.CLEANUP, time.time() - health.STUCK - 1)
    db.close()

    parts = {part["part"]: part for part in json.loads(run.cli("doctor", "--json").stdout)["parts"]}
    ready = run.operations("/readyz")

    assert [name for name, part in parts.items() if not part["ok"]] == ["worker"]
    assert re.search("alive and has stopped consuming: a job of the queue `upkeep`", parts["worker"]["detail"])
    assert ready.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert [part["part"] for part in ready.json()["parts"] if not part["ok"]] == ["worker"]
    assert run.ready()  # for load balancers: whoever is logged in is served
    for pid in idle:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: run.operations("/readyz").status_code == httpx.codes.OK, seconds=20)


def test_a_taken_operations_port_is_named(run: Run) -> None:
    run.start()
    other = Run(run.folder / "other", ops_port=run.ops_ports["web"])
    other.folder.mkdir()
    assert f"port {run.ops_ports['web']}: Address already in use. Set AUTHSVC_OPS_PORT" in other.refused()


def test_flower_sees_the_worker_and_what_it_does(run: Run) -> None:
    run.start()
    port = free_port()
    flower = ("-m", "celery", "--app", "authsvc.jobs.app", "flower", "--address=127.0.0.1", f"--port={port}")
    env = {**run.env, "FLOWER_UNAUTHENTICATED_API": "true", "PYTHONWARNINGS": "ignore"}
    server = Server((sys.executable, *flower), run.folder / "flower.log", env)
    run.servers.append(server)

    def seen(path: str) -> Any:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/api/{path}", trust_env=False, timeout=10).json()
        except httpx.TransportError as error:
            raise ConnectionError from error

    def a_mail_is_seen() -> bool:
        httpx.post(f"{run.url}/api/register", json={"email": new_address(), "password": PASSWORD})
        return "authsvc.mail" in [task["name"] for task in seen("tasks").values()]

    try:
        wait_for(lambda: bool(seen("workers?refresh=true")), seconds=30)
        (worker,) = seen("workers")
        assert worker.startswith("authsvc@")
        wait_for(a_mail_is_seen, seconds=20, pause=1)  # Flower has the worker tell of its tasks, after some seconds
        arguments = {task["args"] for task in seen("tasks").values()}
        assert all(re.fullmatch(r"\('[\w-]{22}',\)", each) for each in arguments)  # ids, and nothing worth reading
    finally:
        server.kill()
