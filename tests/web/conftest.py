from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from authsvc.core import request_ids
from authsvc.domain.accounts import Account
from authsvc.services import Services
from authsvc.web.app import create_app
from tests.conftest import PASSWORD
from tests.web.relying_party import RelyingParty, registered

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """The web knows no SQL, so one kind of database is enough here."""
    return sqlite_url


@pytest.fixture
def app(services: Services) -> Flask:
    return create_app(services)


@pytest.fixture
def anna(services: Services) -> Account:
    return services.accounts.create("anna@example.org", services.hasher.hash(PASSWORD), name="Anna", roles=("editor",))


@pytest.fixture
def client(app: Flask) -> Iterator[FlaskClient]:
    """A program: it sends no header that only browsers send."""
    with app.test_client() as client:
        yield client


@pytest.fixture
def browser(app: Flask) -> Callable[[], FlaskClient]:
    """Makes browsers: each has cookies of its own and says where its requests come from."""

    def make() -> FlaskClient:
        browser = app.test_client()
        browser.environ_base["HTTP_SEC_FETCH_SITE"] = "same-origin"
        browser.environ_base["HTTP_USER_AGENT"] = FIREFOX
        return browser

    return make


def headers(answer: Response) -> list[tuple[str, str]]:
    """Those that say something of the answer: not the one that differs each time."""
    return [(name, value) for name, value in answer.headers if name != request_ids.HEADER]


def login(client: FlaskClient, email: str = "anna@example.org", **more: Any) -> Any:
    """Log in by JSON; returns the answer's body."""
    answer = client.post("/api/login", json={"email": email, "password": PASSWORD, **more})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()


def cookie_of(client: FlaskClient, name: str = "session") -> str:
    cookie = client.get_cookie(name)
    assert cookie is not None
    return cookie.value


@pytest.fixture
def shop(services: Services, client: FlaskClient) -> RelyingParty:
    """A client of somebody else, with a secret."""
    return registered(services, client)


@pytest.fixture
def person(browser: Callable[[], FlaskClient], anna: Account) -> FlaskClient:
    """Anna's browser, logged in."""
    made = browser()
    login(made)
    return made


@pytest.fixture
def ours(services: Services, client: FlaskClient) -> RelyingParty:
    """A client that asks nobody for consent."""
    return registered(services, client, first_party=True, logout_uris=("https://shop.example/bye",))


@pytest.fixture
def job(services: Services, client: FlaskClient) -> RelyingParty:
    """A service that gets tokens of its own."""
    made, secret = services.clients.create("Job", service=True, wanted_scopes=("publish", "presence"))
    return RelyingParty(client, made.id, secret)
