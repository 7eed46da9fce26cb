"""The peers: what others need to say who is logged in, each set up as its own documentation says, in an environment
that the first bench makes. What cannot be installed here is said, and the bench goes on."""

import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.stack import EMAIL, PASSWORD, free_port, running, wait_until_up

HERE = Path(__file__).parent
PYTHON = HERE / ".venv" / "bin" / "python"
NODE = shutil.which("node")
GRANIAN = ["-m", "granian", "--interface", "wsgi", "--no-access-log", "--log-level", "warning"]


class Peer(NamedTuple):
    name: str
    command: list[str]  # of its environment's Python, or of Node; `PORT` and `THREADS` are filled in
    login: tuple[str, str, str]  # path, content type, body
    check: str


_here = ("/login-here", "application/json", json.dumps({"email": EMAIL}))
_form = ("/auth/login", "application/x-www-form-urlencoded", f"username={EMAIL}&password={PASSWORD.replace(' ', '+')}")
_sign_up = (
    "/api/auth/sign-up/email", "application/json", json.dumps({"email": EMAIL, "password": PASSWORD, "name": "Bench"}),
)  # fmt: skip
WSGI = [*GRANIAN, "--port", "PORT", "--blocking-threads", "THREADS"]
PEERS = [
    Peer("Flask-Security-Too", [*WSGI, "flask_security_app:app"], _here, "/whoami"),
    Peer("django-allauth", [*WSGI, "allauth_app:app"], _here, "/_allauth/browser/v1/auth/session"),
    Peer(
        "fastapi-users", ["-m", "uvicorn", "--no-access-log", "--port", "PORT", "fastapi_users_app:app"], _form,
        "/users/me"
    ),
    Peer("express-session", ["express_app.mjs"], _here, "/whoami"),
    Peer("better-auth", ["better_auth_app.mjs"], _sign_up, "/api/auth/get-session"),
]  # fmt: skip


def install() -> dict[str, str]:
    """Make both environments, once. Returns why a peer cannot be measured here, by name."""
    missing = {}
    if not (PYTHON.parent / "granian").exists():
        subprocess.run([sys.executable, "-m", "venv", PYTHON.parent.parent], check=True)
        done = _quiet([PYTHON, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"])
        if done:
            missing = {peer.name: "its packages could not be installed" for peer in PEERS if not _is_node(peer)}
    if NODE and not (HERE / "apps" / "node_modules").exists() and _quiet(["npm", "ci", "--silent"]):
        missing |= {peer.name: "its packages could not be installed" for peer in PEERS if _is_node(peer)}
    if not NODE:
        missing |= {peer.name: "there is no node here" for peer in PEERS if _is_node(peer)}
    return missing


def _quiet(command: list[str | Path]) -> int:
    return subprocess.run(command, cwd=HERE / "apps", stdout=subprocess.DEVNULL, check=False).returncode


def _is_node(peer: Peer) -> bool:
    return peer.command[0].endswith(".mjs")


@contextmanager
def started(peer: Peer, redis_url: str, threads: int) -> Iterator[tuple[int, str]]:
    """The port of a running peer, and the cookie of somebody who is logged in there."""
    with ExitStack() as stack:
        folder, port = stack.enter_context(tempfile.TemporaryDirectory()), free_port()
        words = {"PORT": str(port), "THREADS": str(threads)}
        command = [str(NODE if _is_node(peer) else PYTHON), *(words.get(word, word) for word in peer.command)]
        own = {"PEER_FOLDER": folder, "PEER_PORT": str(port), "PEER_SECRET": secrets.token_hex(32)}
        environment = {**os.environ, **own, "PEER_REDIS_URL": redis_url, "NODE_ENV": "production"}
        stack.enter_context(running(command, environment, cwd=HERE / "apps"))
        wait_until_up(port, "/healthz")
        yield port, _cookie(port, *peer.login)


def _cookie(port: int, path: str, kind: str, body: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, body, {"Content-Type": kind, "Origin": f"http://127.0.0.1:{port}"})
    answer = connection.getresponse()
    text = answer.read()
    cookies = [value.split(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie"]
    connection.close()
    if not cookies:
        raise RuntimeError(f"{path} answered {answer.status} {text[:200]!r}")
    return "; ".join(cookies)
