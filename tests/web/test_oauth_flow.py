"""A person is logged in at a client: from the first click to the last token."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from authsvc.domain.accounts import Account
from authsvc.services import Services
from tests.conftest import ORIGIN, PASSWORD
from tests.web.conftest import login
from tests.web.relying_party import CALLBACK, RelyingParty, allow, hidden, registered, told


@pytest.fixture
def shop(services: Services, client: FlaskClient) -> RelyingParty:
    return registered(services, client)


@pytest.fixture
def person(browser: Callable[[], FlaskClient], anna: Account) -> FlaskClient:
    made = browser()
    login(made)
    return made


@pytest.mark.usefixtures("anna")
def test_a_stranger_logs_in_agrees_and_comes_to_the_client(
    shop: RelyingParty, browser: Callable[[], FlaskClient], services: Services
) -> None:
    person = browser()
    sent = shop.authorize(person, login_hint="anna@example.org")
    assert sent.headers["Location"].startswith("/login?next=/oauth/authorize%3F")
    page = person.get(sent.headers["Location"])
    assert 'value="anna@example.org"' in page.get_data(as_text=True)
    fields = {"email": "anna@example.org", "password": PASSWORD, "next": hidden(page)["next"]}
    back = person.post("/login", data=fields)
    asked = person.get(back.headers["Location"])
    assert "Let Shop in?" in asked.get_data(as_text=True)
    answer = allow(person, asked)
    assert answer.headers["Location"].startswith(CALLBACK + "?")
    assert told(answer)["state"] == "a state"
    assert told(answer)["iss"] == ORIGIN
    tokens = shop.redeem(told(answer)["code"]).get_json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    assert shop.userinfo(tokens["access_token"]).get_json() == {
        "sub": services.tokens.claims(tokens["access_token"])["sub"],
        "name": "Anna",
        "email": "anna@example.org",
        "email_verified": True,
    }


def test_who_has_agreed_is_not_asked_again(shop: RelyingParty, person: FlaskClient) -> None:
    allow(person, shop.authorize(person))
    assert urlsplit(shop.authorize(person).headers["Location"]).netloc == "shop.example"


def test_tokens_are_refreshed(shop: RelyingParty, person: FlaskClient) -> None:
    tokens = shop.tokens(person)
    again = shop.refresh(tokens["refresh_token"])
    assert again.status_code == 200
    assert again.get_json()["refresh_token"] != tokens["refresh_token"]
