"""B6: an application behind real proxies sees only who is logged in, and nobody says of themselves who they are."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.servers import free_port, wait_for
from tests.system.browser import Browser
from tests.system.guards import Application, Guarded, haproxy, what_it_was_told, without_stores
from tests.system.parts import certificate, installed
from tests.system.stack import Server

pytestmark = pytest.mark.promise("B6")
TRICKS = [
    "X-Auth-User: admin", "x-auth-user: admin", "X-AUTH-ROLES: admin", "X_Auth_User: admin", "X_AUTH_ROLES: admin",
    "X-Auth_User: admin", "X-Auth-Name: admin\r\nX-Auth-Name: admin", "X-Auth-Amr:admin", "X-Auth-User : admin",
    "X-Auth-Email: admin\r\n\tadmin", "Connection: X-Auth-User, X-Auth-Session\r\nX-Auth-Roles: admin",
    "X-Auth-Else: admin",
]  # fmt: skip


def test_haproxy_lets_nobody_through_when_its_script_fails(tmp_path: Path) -> None:
    app, port = Application(), free_port()
    run: Any = SimpleNamespace(port=free_port(), tls=certificate(tmp_path), url=f"https://127.0.0.1:{port}")
    proxy = haproxy(tmp_path, port, run, app)
    try:
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close() is None)
        assert Guarded(run, app).ask("GET /app/x HTTP/1.1")[0] == 503, "nobody answers"
        proxy.kill()
        script = tmp_path / "guard.haproxy.lua"
        script.write_text(script.read_text().replace("local answer = ask(txn, url)", 'error("it fails")'))
        proxy = Server((installed("haproxy"), "-db", "-f", str(tmp_path / "haproxy.cfg")), tmp_path / "haproxy.log")
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close() is None)
        assert Guarded(run, app).ask("GET /app/x HTTP/1.1")[0] == 503
        assert app.seen == []
    finally:
        proxy.kill()
        app.server.shutdown()
        app.server.server_close()


def names(headers: list[tuple[str, str]]) -> dict[str, list[str]]:
    """What an application might take for our headers: frameworks read `_` as `-`."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower().replace("_", "-").startswith("x-auth"):
            found.setdefault(name.lower().replace("_", "-"), []).append(value)
    return found


async def test_the_application_is_told_who_it_is(guarded: Guarded) -> None:
    email = guarded.run.new_user("--name", "Zoë Köhler", "--role", "editor")
    async with Browser(guarded.run) as browser:
        sid = await browser.log_in(email)
        answer = await browser.get("/app/page?x=1")
        assert answer.status_code == 200
        told = what_it_was_told(answer)
        assert told.pop("X-Auth-User")
        assert told == {
            "X-Auth-Email": email, "X-Auth-Name": "Zo%C3%AB%20K%C3%B6hler", "X-Auth-Roles": "editor",
            "X-Auth-Session": sid, "X-Auth-Amr": "pwd",
        }  # fmt: skip
        assert guarded.app.seen[-1][1] == "/app/page?x=1"
        await browser.post("/api/logout")
        seen = len(guarded.app.seen)
        assert (await browser.get("/app/page")).status_code in (302, 401)
        assert len(guarded.app.seen) == seen


async def test_a_person_is_led_to_the_login_and_back(guarded: Guarded) -> None:
    email = guarded.email
    async with Browser(guarded.run) as browser:
        browser.headers["Accept"] = "text/html"
        answer = await browser.get("/app/page?a=1&b=2")
        assert answer.status_code == 302
        assert answer.headers["Location"].removeprefix(guarded.run.url) == "/login?next=/app/page%3Fa%3D1%26b%3D2"
        form = {"email": email, "password": "correct horse battery staple", "next": "/app/page?a=1&b=2"}
        landed = await browser.post("/login", data=form, follow_redirects=True)
        assert landed.status_code == 200
        assert what_it_was_told(landed)["X-Auth-Email"] == email


@pytest.mark.parametrize("trick", TRICKS)
async def test_nobody_says_of_themselves_who_they_are(guarded: Guarded, trick: str) -> None:
    email = guarded.email
    async with Browser(guarded.run) as browser:
        await browser.log_in(email)
        before = len(guarded.app.seen)
        status, _ = guarded.ask(f"GET /app/x HTTP/1.1\r\n{trick}\r\n{guarded.cookie(browser)}")
        seen = guarded.app.seen[before:]
    assert status in (200, 400)
    assert len(seen) == (status == 200)
    for _, _, headers in seen:
        told = names(headers)
        assert told["x-auth-email"] == [email]
        assert all(len(values) == 1 for values in told.values())
        ours = {name: value for name, value in told.items() if name != "x-auth-else"}
        assert "admin" not in repr(ours)

    status, _ = guarded.ask(f"GET /app/x HTTP/1.1\r\n{trick}")
    assert status in (302, 400, 401)
    assert len(guarded.app.seen) == before + len(seen)


@pytest.mark.parametrize(
    "head",
    [
        "GET /app/ HTTP/1.1", "POST /app/ HTTP/1.1\r\nContent-Length: 0", "BREW /app/ HTTP/1.1",
        "PROPFIND /app/ HTTP/1.1",
        "HEAD /app/ HTTP/1.1", "OPTIONS /app/ HTTP/1.1", "TRACE /app/ HTTP/1.1", "GET /app//x HTTP/1.1",
        "GET //app/x HTTP/1.1", "GET /%61pp/x HTTP/1.1", "GET /app%2fx HTTP/1.1", "GET /app/%2e%2e/app/x HTTP/1.1",
        "GET /login/../app/x HTTP/1.1", "GET /login/%2e%2e/app/x HTTP/1.1", "GET /app/x;y HTTP/1.1",
        "GET /app/%00 HTTP/1.1", "GET /./app/./x HTTP/1.1", "GET /static/..%2fapp/x HTTP/1.1",
        "GET https://127.0.0.1/app/x HTTP/1.1", "GET /app/x HTTP/1.1\r\nCookie: __Host-session=",
        "GET /app/x HTTP/1.1\r\nCookie: __Host-session=" + "A" * 3000,
        "GET /app/x HTTP/1.1\r\nCookie: __Host-session=" + "A" * 60000,
        "GET /app/x HTTP/1.1\r\nX-Forwarded-Uri: /login\r\nX-Original-Uri: /login\r\nX-Forwarded-Method: OPTIONS",
        "GET /app/x HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1, \xff,,\r\nX-Forwarded-Host: \x01",
        'GET /app/x HTTP/1.1\r\nX-Forwarded-Proto: javascript\r\nForwarded: for="_"', "GET /_authsvc HTTP/1.1",
        "GET /app/x HTTP/1.1\r\nX-Original-URL: /login\r\nX-Rewrite-URL: /login", "GET /app/x HTTP/1.0",
        "GET /app/x HTTP/1.1\r\nX-Accel-Redirect: /app/x", "GET /app/x HTTP/1.1\r\nUpgrade: websocket",
        "POST /app/x HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
    ],
)  # fmt: skip
def test_a_stranger_never_reaches_the_application(guarded: Guarded, head: str) -> None:
    before = len(guarded.app.seen)
    status, _ = guarded.ask(head, b"0\r\n\r\nGET /app/smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert len(guarded.app.seen) == before
    assert status == 0 or status >= 300 or (status == 200 and "/app" not in head.partition("\r\n")[0])


async def test_two_cookies_of_our_name_are_refused(guarded: Guarded) -> None:
    email = guarded.email
    async with Browser(guarded.run) as browser:
        await browser.log_in(email)
        before = len(guarded.app.seen)
        own = guarded.cookie(browser)
        assert guarded.ask(f"GET /app/x HTTP/1.1\r\n{own}")[0] == 200
        for twice in (
            f"{own}\r\n{own}",
            f"{own}; {own.removeprefix('Cookie: ')}",
            f"Cookie: {guarded.run.cookie_name}=x\r\n{own}",
        ):
            assert guarded.ask(f"GET /app/x HTTP/1.1\r\n{twice}")[0] in (302, 400, 401)
    assert len(guarded.app.seen) == before + 1


async def test_while_no_store_can_tell_nobody_is_let_through(guarded: Guarded) -> None:
    email = guarded.email
    async with Browser(guarded.run) as browser:
        await browser.log_in(email)
        with without_stores(guarded.run):
            before = len(guarded.app.seen)
            assert guarded.ask(f"GET /app/x HTTP/1.1\r\n{guarded.cookie(browser)}")[0] >= 500
            assert len(guarded.app.seen) == before
        assert guarded.ask(f"GET /app/x HTTP/1.1\r\n{guarded.cookie(browser)}")[0] == 200


async def test_while_the_service_is_down_nobody_is_let_through(guarded: Guarded) -> None:
    """The last: it takes the service away, and brings it back."""
    email = guarded.email
    async with Browser(guarded.run) as browser:
        await browser.log_in(email)
        guarded.run.server.stop()
        before = len(guarded.app.seen)
        assert guarded.ask(f"GET /app/x HTTP/1.1\r\n{guarded.cookie(browser)}")[0] >= 500
        assert len(guarded.app.seen) == before
        guarded.run.start()
        assert guarded.ask(f"GET /app/x HTTP/1.1\r\n{guarded.cookie(browser)}")[0] == 200
