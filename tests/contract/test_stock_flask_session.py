"""Two promises that Flask-Session 0.8, as it stands, breaks: the same two requests against it and against our store."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from flask import Flask, session
from flask.testing import FlaskClient
from flask_session import Session

from authsvc.flask import AuthSession
from authsvc.services import Services
from authsvc.web.app import create_app
from tests.conftest import PASSWORD
from tests.servers import Valkey


@dataclass
class Shop:
    """An application that keeps things in `flask.session`. A slow request waits after it has read its session."""

    app: Flask
    log_in: Callable[[FlaskClient], object]
    log_out: Callable[[FlaskClient], object]
    opened: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        @self.app.post("/put/<key>")
        def put(key: str) -> str:
            session[key] = True
            return key

        @self.app.post("/put-slowly/<key>")
        def put_slowly(key: str) -> str:
            session.get("anything")
            self.opened.set()
            assert self.go_on.wait(10)
            session[key] = True
            return key

        @self.app.get("/kept")
        def kept() -> list[str]:
            return sorted(session)

        @self.app.get("/logged-in")
        def logged_in() -> list[bool]:
            return [bool(session.get("visited"))]

    def browser(self, like: FlaskClient | None = None) -> FlaskClient:
        """A browser, or another tab of one: with the same cookie."""
        browser = self.app.test_client()
        if like and (cookie := like.get_cookie("session")):
            browser.set_cookie("session", cookie.value)
        return browser


@pytest.fixture
def stock(valkey: Valkey) -> Iterator[Shop]:
    """As its documentation sets it up."""
    app = Flask("stock")
    with valkey.client() as client:
        app.config.update(SESSION_TYPE="redis", SESSION_REDIS=client)
        Session(app)

        @app.post("/in")
        def log_in() -> str:
            session["user"] = "anna"
            return "in"

        @app.post("/out")
        def log_out() -> str:
            session.clear()
            return "out"

        yield Shop(app, lambda browser: browser.post("/in"), lambda browser: browser.post("/out"))


@pytest.fixture(params=["the service", "an application beside it"])
def ours(request: pytest.FixtureRequest, services: Services) -> Iterator[Shop]:
    services.accounts.create("anna@example.org", services.hasher.hash(PASSWORD))
    service = create_app(services)

    def at_the_service(browser: FlaskClient, path: str, body: dict[str, str]) -> None:
        own = service.test_client()
        if cookie := browser.get_cookie("session"):
            own.set_cookie("session", cookie.value)
        assert own.post(path, json=body).status_code < 300
        if cookie := own.get_cookie("session"):
            browser.set_cookie("session", cookie.value)

    credentials = {"email": "anna@example.org", "password": PASSWORD}
    app = service
    if request.param != "the service":
        app = Flask("shop")
        AuthSession(app, settings=services.settings)
    yield Shop(
        app,
        lambda browser: at_the_service(browser, "/api/login", credentials),
        lambda browser: at_the_service(browser, "/api/logout", {}),
    )
    if app is not service:
        app.extensions["authsvc.session"].services.close()


def a_logout_is_undone(shop: Shop) -> bool:
    """A page is still loading in one tab while its user logs out in another. Is the session back when it is done?"""
    tab = shop.browser()
    shop.log_in(tab)
    tab.post("/put/visited", json={})
    slow, copy = shop.browser(like=tab), shop.browser(like=tab)
    during(shop, slow, "cart", lambda: shop.log_out(tab))
    return copy.get("/logged-in").get_json() == [True]


def an_update_is_lost(shop: Shop) -> bool:
    """Two pages store different things at once. Is one of them gone?"""
    tab = shop.browser()
    shop.log_in(tab)
    slow, quick = shop.browser(like=tab), shop.browser(like=tab)
    during(shop, slow, "cart", lambda: quick.post("/put/theme", json={}))
    return not {"cart", "theme"} <= set(tab.get("/kept").get_json())


def during(shop: Shop, slow: FlaskClient, key: str, other: Callable[[], object]) -> None:
    """While one browser's slow request is under way, something else happens from beginning to end."""
    request = threading.Thread(target=lambda: slow.post(f"/put-slowly/{key}", json={}))
    request.start()
    assert shop.opened.wait(10)
    other()
    shop.go_on.set()
    request.join(10)


@pytest.mark.promise("R1")
@pytest.mark.promise("R2")
def test_a_logout_is_never_undone_by_a_page_that_was_still_loading(ours: Shop) -> None:
    assert not a_logout_is_undone(ours)


def test_stock_flask_session_undoes_a_logout(stock: Shop) -> None:
    assert a_logout_is_undone(stock)


@pytest.mark.promise("L1")
def test_two_pages_that_store_at_once_both_keep_it(ours: Shop) -> None:
    assert not an_update_is_lost(ours)


def test_stock_flask_session_loses_one_of_two_updates(stock: Shop) -> None:
    assert an_update_is_lost(stock)
