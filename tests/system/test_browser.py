"""What only a real browser can show: cookies, origins and policies as Chromium takes them."""

import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import chromium as chromium_
from tests.conftest import PASSWORD
from tests.servers import wait_for
from tests.system.stack import Stack


@pytest.fixture
def service(_run_stack: Stack) -> Stack:
    return _run_stack


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with chromium_.started() as browser:
        yield browser


@pytest.fixture
def person(chromium: Browser, service: Stack) -> Iterator[Callable[[], Page]]:
    """Makes people: each a browser of its own, where no page may break our policy."""
    contexts, complaints = [], []

    def make() -> Page:
        contexts.append(chromium.new_context(base_url=service.url))
        page = contexts[-1].new_page()
        chromium_.note_complaints(page, complaints)
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def log_in(page: Page, email: str) -> None:
    page.goto("/login")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Where you are logged in")).to_be_visible()


SILENT = "/api/docs"  # a page of ours that does not listen by itself
LISTEN = """async () => {
    window.heard = [];
    const stream = new EventSource("/events");
    for (const name of ["session", "session.started", "session.ended"])
        stream.addEventListener(name, (event) => window.heard.push(name + " " + event.data));
    const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws", "authsvc.v1");
    socket.onclose = (event) => { window.closeCode = event.code; };
    const opened = new Promise((done) => { stream.onopen = done; });
    const greeted = new Promise((done) => { socket.onmessage = done; });
    await Promise.all([opened, greeted]);
}"""


@pytest.mark.promise("R3")
def test_two_browsers_see_each_other_and_one_logs_the_other_out(person: Callable[[], Page], service: Stack) -> None:
    email, one, two = service.new_user(), person(), person()
    log_in(one, email)
    log_in(two, email)
    one.reload()
    expect(one.get_by_role("listitem")).to_have_count(2)
    two.goto(SILENT)
    two.evaluate(LISTEN)
    one.get_by_role("button", name="End all others").click()
    expect(one.get_by_role("listitem")).to_have_count(1)
    wait_for(lambda: two.evaluate("() => window.closeCode") == 4401)
    wait_for(lambda: 'session {"state":"ended"}' in two.evaluate("() => window.heard"))
    two.goto("/account")
    expect(two.get_by_role("button", name="Log in")).to_be_visible()
    assert two.url == f"{service.url}/login?next=/account"
    one.reload()
    expect(one.get_by_role("listitem")).to_have_count(1)


def test_a_logout_in_one_tab_is_heard_in_the_other(person: Callable[[], Page], service: Stack) -> None:
    page = person()
    log_in(page, service.new_user())
    other = page.context.new_page()
    other.goto(SILENT)
    other.evaluate(LISTEN)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    wait_for(lambda: other.evaluate("() => window.closeCode") == 4401)
    page.go_back()
    expect(page.get_by_role("heading", name="Where you are logged in")).not_to_be_visible()


@pytest.fixture
def other_site(service: Stack) -> Iterator[str]:
    """A page of another site (to a browser, `localhost` is another than `127.0.0.1`) that tries to write to ours."""
    evil = f"""<!doctype html><title>evil</title>
    <form id=logout method=post action="{service.url}/logout"><input name=a></form>
    <form id=login method=post action="{service.url}/login">
      <input name=email value=mallory@example.org><input name=password value=whatever-it-is></form>"""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(evil.encode())

        def log_message(self, *_: Any) -> None:
            """Nothing: the log of a test is its own."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.promise("B8")
def test_another_site_can_neither_write_nor_listen(person: Callable[[], Page], service: Stack, other_site: str) -> None:
    page = person()
    log_in(page, service.new_user())
    evil = page.context.new_page()
    for form in ("logout", "login"):
        evil.goto(other_site)
        with evil.expect_navigation():
            evil.evaluate(f"document.getElementById('{form}').submit()")
        expect(evil.get_by_text("came from another site")).to_be_visible()
    evil.goto(other_site)
    address = service.socket_url
    refused = f"new Promise((done) => {{ new WebSocket('{address}').onclose = (event) => done(event.code); }})"
    assert evil.evaluate(refused) == 4403
    stream = f"new Promise((done) => {{ const s = new EventSource('{service.url}/events', {{withCredentials: true}});"
    assert evil.evaluate(stream + "s.onerror = () => done(s.readyState); s.onopen = () => done('open'); })") == 2
    read = f"fetch('{service.url}/api/session', {{credentials: 'include'}}).then(() => 'read', () => 'refused')"
    assert evil.evaluate(read) == "refused"
    framed = "new Promise((done) => { const f = document.createElement('iframe'); f.onload = () => done(1);"
    evil.evaluate(f"{framed} f.src = '{service.url}/account'; document.body.append(f); }})")
    assert "Where you are logged in" not in "".join(frame.content() for frame in evil.frames[1:])
    page.reload()
    expect(page.get_by_role("heading", name="Where you are logged in")).to_be_visible()
