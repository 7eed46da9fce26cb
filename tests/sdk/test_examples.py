"""The services of docs/examples, as processes of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.sdk.issuer import AUDIENCE, Issuer
from tests.servers import free_port, wait_for

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
COMMANDS = {
    "flask_service": ["granian", "--interface", "wsgi", "--log-level", "error"],
    "fastapi_service": ["uvicorn", "--log-level", "error"],
}


@pytest.fixture(params=COMMANDS)
def notes(request: pytest.FixtureRequest, issuer: Issuer) -> Iterator[httpx.Client]:
    port = free_port()
    command = [sys.executable, "-m", *COMMANDS[request.param], "--port", str(port), f"{request.param}:app"]
    settings = {"ISSUER": issuer.url, "AUDIENCE": AUDIENCE, "CLIENT_ID": "orders", "CLIENT_SECRET": "secret"}
    process = subprocess.Popen(command, env={**os.environ, **settings, "PYTHONPATH": str(EXAMPLES)})
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
        try:
            wait_for(lambda: get(client, "/about") == 200, seconds=30)
            yield client
        finally:
            process.terminate()
            process.wait()


def get(client: httpx.Client, path: str, token: str = "") -> int | None:
    """The status, None where nobody answers."""
    try:
        return client.get(path, headers={"Authorization": f"Bearer {token}"} if token else {}).status_code
    except httpx.TransportError:
        return None


@pytest.mark.promise("R5")
def test_an_example_lets_in_who_may_until_their_session_ends(notes: httpx.Client, issuer: Issuer) -> None:
    token = issuer.token(scope="notes:read", sid="ended")
    assert [get(notes, "/notes"), get(notes, "/notes", issuer.token()), get(notes, "/notes", token)] == [401, 403, 200]
    issuer.end_session("ended")
    wait_for(lambda: get(notes, "/notes", token) == 401)
    assert get(notes, "/notes", issuer.token(scope="notes:read")) == 200
