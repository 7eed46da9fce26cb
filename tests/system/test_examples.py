"""The examples of docs/drop-in.md, as processes of their own beside a running service."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import free_port, wait_for
from tests.system.browser import Browser
from tests.system.stack import Stack

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
COMMANDS = {
    "flask_app": ["granian", "--interface", "wsgi", "--log-level", "error"],
    "quart_app": ["uvicorn", "--log-level", "error"],
}


@pytest.fixture
def run(_run_stack: Stack) -> Stack:
    return _run_stack


@pytest.fixture(params=list(COMMANDS))
def port(request: pytest.FixtureRequest, run: Stack) -> Iterator[int]:
    """Of an example that has the settings of the service."""
    port = free_port()
    command = [sys.executable, "-m", *COMMANDS[request.param], "--port", str(port), f"{request.param}:app"]
    environment = {**os.environ, **run.env, "AUTHSVC_COOKIE_SECURE": "false", "PYTHONPATH": str(EXAMPLES)}
    process = subprocess.Popen(command, env=environment)
    try:
        wait_for(lambda: get(port, "/about")[0] == 200)
        yield port
    finally:
        process.terminate()
        process.wait()


def get(port: int, path: str, cookie: str = "") -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())
    finally:
        connection.close()


@pytest.mark.promise("R1")
async def test_an_example_greets_who_is_logged_in_and_counts_until_they_log_out(port: int, run: Stack) -> None:
    email = run.new_user("--name", "Anna")
    async with Browser(run) as browser:
        status, _, headers = get(port, "/")
        assert (status, headers["location"]) == (302, "/login?next=/")
        await browser.log_in(email)
        cookie = f"{run.cookie_name}={browser.token}"
        for visits in (1, 2, 3):
            status, body, headers = get(port, "/", cookie)
            assert (status, json.loads(body)) == (200, {"hello": "Anna", "visits": visits})
        assert {name.lower(): value for name, value in headers.items()}["vary"] == "Cookie"
        await browser.post("/api/logout")
        assert get(port, "/", cookie)[0] == 302
    assert get(port, "/about")[1] == "It counts."
