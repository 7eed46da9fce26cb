"""The services of docs/sdk.md, run as their pages say, beside a running authsvc: in Flask and FastAPI with the sdk, in
Node without it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.servers import free_port, missing, wait_for
from tests.system.browser import Browser
from tests.system.stack import Run, only

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
AUDIENCE, SCOPE = "https://notes.example", "notes:read"
COMMANDS = {
    "flask": [sys.executable, "-m", "granian", "--interface", "wsgi", "--log-level", "error", "flask_service:app"],
    "fastapi": [sys.executable, "-m", "uvicorn", "--log-level", "error", "fastapi_service:app"],
    "node": ["node", "node_service/service.mjs"],
}


class Service:
    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str, token: str = "") -> int:
        return self._http.get(path, headers={"Authorization": f"Bearer {token}"} if token else {}).status_code

    def up(self) -> bool:
        with suppress(httpx.TransportError):
            return self.get("/about") == 200
        return False


@pytest.fixture
def issuer(run: Run) -> Run:
    """An installation that has a service for notes."""
    run.env |= {"AUTHSVC_SCOPES": f"{SCOPE},notes:write", "AUTHSVC_AUDIENCES": AUDIENCE}
    return run.start()


@pytest.fixture
def services(issuer: Run) -> Iterator[dict[str, Service]]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        missing("node and npm")
    if not (EXAMPLES / "node_service" / "node_modules" / ".package-lock.json").exists():
        subprocess.run(["npm", "ci", "--silent"], cwd=EXAMPLES / "node_service", check=True, timeout=50)
    made = issuer.told("client", "create", "Notes", "--service", "--scope", "revocations", "--audience", AUDIENCE,
                       "--audience", issuer.url)  # fmt: skip
    settings = {
        "ISSUER": issuer.url, "AUDIENCE": AUDIENCE, "CLIENT_ID": made["id"], "CLIENT_SECRET": made["secret"],
    }  # fmt: skip
    with ExitStack() as running:
        yield {name: running.enter_context(started(name, settings)) for name in COMMANDS}


@contextmanager
def started(name: str, settings: dict[str, str]) -> Iterator[Service]:
    port = free_port()
    command = COMMANDS[name] + (["--port", str(port)] if name != "node" else [])
    process = subprocess.Popen(command, cwd=EXAMPLES, env={**os.environ, **settings, "PORT": str(port)})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as http:
            service = Service(http)
            wait_for(service.up, seconds=30)
            yield service
    finally:
        process.terminate()
        process.wait(timeout=10)


async def token(browser: Browser, scope: str = SCOPE) -> str:
    answer = await browser.post("/api/token", json={"audience": AUDIENCE, "scope": scope})
    assert answer.status_code == 200, answer.text
    made: str = answer.json()["access_token"]
    return made


@pytest.mark.promise("R5")
@pytest.mark.timeout(120)
async def test_services_let_in_who_is_logged_in_and_nobody_after_the_logout(
    issuer: Run, services: dict[str, Service]
) -> None:
    email = issuer.new_user()
    async with Browser(issuer) as browser, Browser(issuer) as other:
        for each in (browser, other):
            await each.log_in(email)
        good, wrong, kept = await token(browser), await token(browser, "notes:write"), await token(other)
        own = (await browser.post("/api/token", json={})).json()["access_token"]
        for service in services.values():
            assert service.get("/notes") == 401
            assert service.get("/notes", good) == 200
            assert service.get("/notes", kept) == 200
            assert service.get("/notes", wrong) == 403
            assert service.get("/notes", own) == 401  # for the issuer, not for them
            assert service.get("/notes", good[:-4] + "AAAA") == 401

        assert (await browser.post("/api/logout", json={})).status_code == 204

        for service in services.values():
            wait_for(lambda service=service: service.get("/notes", good) == 401)
            assert service.get("/notes", kept) == 200


@pytest.mark.promise("R5")
@pytest.mark.timeout(120)
async def test_services_with_the_sdk_go_on_while_the_issuer_restarts_and_hear_of_the_logout_after_it(
    issuer: Run, services: dict[str, Service]
) -> None:
    sdk = [services["flask"], services["fastapi"]]
    async with Browser(issuer) as browser:
        await browser.log_in(issuer.new_user())
        good = await token(browser)
        for service in sdk:
            assert service.get("/notes", good) == 200
        issuer.server.kill()
        for service in sdk:
            assert service.get("/notes", good) == 200
        issuer.start()

        assert (await browser.post("/api/logout", json={})).status_code == 204

        for service in sdk:
            wait_for(lambda service=service: service.get("/notes", good) == 401, seconds=20)


@pytest.mark.promise("R5")
@pytest.mark.timeout(120)
async def test_services_with_the_sdk_hear_of_a_logout_that_found_no_redis(
    issuer: Run, services: dict[str, Service]
) -> None:
    sdk = [services["flask"], services["fastapi"]]
    async with Browser(issuer) as browser:
        await browser.log_in(issuer.new_user())
        good = await token(browser)
        for service in sdk:
            assert service.get("/notes", good) == 200
        valkey = only("valkey-server", issuer.instance)
        os.kill(valkey, signal.SIGSTOP)
        try:
            assert (await browser.post("/api/logout", json={})).status_code == 202
        finally:
            os.kill(valkey, signal.SIGCONT)

        for service in sdk:
            wait_for(lambda service=service: service.get("/notes", good) == 401, seconds=30)
