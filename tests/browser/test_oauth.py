"""The way to a client in a real browser, whose policy judges every redirect that comes after a form."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import EMAIL, Site, log_in
from tests.conftest import PASSWORD

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # RFC 7636, appendix B


class Shop(BaseHTTPRequestHandler):
    """A page of somebody else, on another origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(f"<!doctype html><title>Shop</title><h1>{self.path.partition('?')[0]}</h1>".encode())

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def shop() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def request_of(site: Site, shop: str) -> Callable[..., str]:
    """Where the shop sends a browser."""

    def make(*, first_party: bool = False, **more: str) -> str:
        uris = {"redirect_uris": (f"{shop}/cb",), "logout_uris": (f"{shop}/bye",)}
        client, _ = site.services.clients.create("Shop", first_party=first_party, **uris)
        asked = {
            "response_type": "code", "client_id": client.id, "redirect_uri": f"{shop}/cb", "scope": "openid email",
            "state": "x", "code_challenge": CHALLENGE, "code_challenge_method": "S256", **more,
        }  # fmt: skip
        return f"/oauth/authorize?{urlencode(asked)}"

    return make


def fill_in_login(page: Page) -> None:
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


@pytest.mark.promise("B8")
def test_a_form_of_ours_may_lead_to_the_client_in_the_end(
    person: Callable[..., Page], request_of: Callable[..., str]
) -> None:
    page = person()
    page.goto(request_of(login_hint=EMAIL))
    expect(page.get_by_label("Email")).to_have_value(EMAIL)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    fill_in_login(page)
    page.get_by_role("button", name="Allow", exact=True).click()
    expect(page.get_by_role("heading", name="/cb")).to_be_visible()


def test_so_may_the_login_itself_and_the_step_up(person: Callable[..., Page], request_of: Callable[..., str]) -> None:
    page = person()
    page.goto(request_of(first_party=True, login_hint=EMAIL))
    fill_in_login(page)
    expect(page.get_by_role("heading", name="/cb")).to_be_visible()
    page.goto(request_of(first_party=True, prompt="login"))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="/cb")).to_be_visible()


def test_the_client_gets_its_user_back_after_a_logout(person: Callable[..., Page], site: Site, shop: str) -> None:
    page = person()
    log_in(page)
    client, _ = site.services.clients.create("Shop", redirect_uris=(f"{shop}/cb",), logout_uris=(f"{shop}/bye",))
    page.goto(f"/oauth/logout?{urlencode({'client_id': client.id, 'post_logout_redirect_uri': f'{shop}/bye'})}")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="/bye")).to_be_visible()


def test_the_language_changes_on_the_page_that_asks(
    person: Callable[..., Page], request_of: Callable[..., str]
) -> None:
    page = person(locale="en-GB")
    log_in(page)
    page.goto(request_of())
    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_role("button", name="允许", exact=True)).to_be_visible()
