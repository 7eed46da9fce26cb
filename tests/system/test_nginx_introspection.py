"""docs/examples/nginx_introspection: a real nginx that asks about each token, in front of an application."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.servers import free_port, missing, wait_for
from tests.system.browser import Browser
from tests.system.conftest import installed
from tests.system.guards import Application
from tests.system.stack import Run, Stack

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "nginx_introspection"
MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")


class Guarded:
    def __init__(self, port: int, app: Application) -> None:
        self.url = f"http://127.0.0.1:{port}/notes"
        self.app = app

    def ask(self, token: str = "", **headers: str) -> httpx.Response:
        sent = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
        return httpx.get(self.url, headers=sent, trust_env=False, timeout=10)


@pytest.fixture
def stack(_run_stack: Stack) -> Stack:
    return _run_stack


@pytest.fixture
def guarded(stack: Stack, tmp_path: Path) -> Iterator[Guarded]:
    with guarding(stack, tmp_path) as site:
        yield site


@contextmanager
def guarding(stack: Stack, tmp_path: Path) -> Iterator[Guarded]:
    nginx = installed("nginx")
    if not MODULE.exists():
        missing("nginx's JavaScript module")
    app, port = Application(), free_port()
    conf = (EXAMPLE / "nginx.conf").read_text()
    for wanted, instead in {
        "127.0.0.1:3004": f"127.0.0.1:{port}",
        "127.0.0.1:3000": f"127.0.0.1:{app.port}",
        "js_import introspection.js;": f"js_import {EXAMPLE}/introspection.js; access_log off;" + "".join(
            f" {each}_temp_path {tmp_path}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ),
        "events {}": f"events {{}} daemon off; pid {tmp_path}/pid;" + (" user root;" if os.geteuid() == 0 else ""),
    }.items():  # fmt: skip
        assert wanted in conf
        conf = conf.replace(wanted, instead)
    (tmp_path / "nginx.conf").write_text(conf)
    made = stack.told("client", "create", "nginx", "--service")
    settings = {
        "ISSUER": stack.url, "AUDIENCE": stack.url, "CLIENT_ID": made["id"], "CLIENT_SECRET": made["secret"],
    }  # fmt: skip
    command = (nginx, "-p", str(tmp_path), "-e", str(tmp_path / "log"), "-c", str(tmp_path / "nginx.conf"))
    process = subprocess.Popen(command, env={**os.environ, **settings})
    site = Guarded(port, app)

    def up() -> bool:
        try:
            return site.ask().status_code == 401
        except httpx.TransportError as error:
            raise ConnectionError from error

    try:
        wait_for(up, seconds=20)
        yield site
    finally:
        process.terminate()
        process.wait(timeout=10)
        app.server.shutdown()
        app.server.server_close()


@pytest.mark.promise("R5")
async def test_who_is_logged_in_gets_through_until_the_logout(stack: Stack, guarded: Guarded) -> None:
    async with Browser(stack) as browser:
        await browser.log_in(stack.new_user())
        user = (await browser.get("/api/session")).json()["user"]["id"]
        token = (await browser.post("/api/token", json={"scope": "profile"})).json()["access_token"]

        told = guarded.ask(token, **{"X-Subject": "admin", "X-Scope": "everything"}).json()
        assert (told["X-Subject"], told["X-Scope"]) == (user, "profile")
        assert "Authorization" not in told

        await browser.post("/api/logout", json={})
        assert guarded.ask(token).status_code == 401


@pytest.mark.promise("B6")
def test_whatever_is_no_token_is_refused_and_the_application_never_asked(guarded: Guarded) -> None:
    for header in ("", "Bearer", "Bearer a b", "Bearer x.y.z", "Basic YTpi", "Bearer " + "a" * 4000, "Bearer ask_x"):
        assert guarded.ask(Authorization=header).status_code == 401, header
    assert guarded.app.seen == []


@pytest.mark.promise("B6")
async def test_while_the_issuer_is_away_nobody_gets_through(run: Run, tmp_path: Path) -> None:
    run.start()
    with guarding(run, tmp_path) as guarded:
        async with Browser(run) as browser:
            await browser.log_in(run.new_user())
            token = (await browser.post("/api/token", json={})).json()["access_token"]
        assert guarded.ask(token).status_code == 200

        run.server.kill()

        assert guarded.ask(token).status_code == 500  # what auth_request makes of any answer but 2xx, 401 and 403
