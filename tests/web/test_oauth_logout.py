"""A client asks for a logout: with its ID token of this very session at once, otherwise its owner is asked."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from authsvc.core import cluster
from authsvc.services import Services
from tests.domain.test_oidc import HOSTILE
from tests.web.conftest import login
from tests.web.relying_party import RelyingParty, hidden, registered

BYE = "https://shop.example/bye"


@pytest.fixture
def shop(services: Services, client: FlaskClient) -> RelyingParty:
    return registered(services, client, first_party=True, logout_uris=(BYE, BYE + "?from=authsvc"))


def asks(browser: FlaskClient, **fields: Any) -> Any:
    return browser.get("/oauth/logout", query_string=fields)


def logged_in(browser: FlaskClient) -> bool:
    return browser.get("/api/session").status_code == 200


def test_the_client_of_this_session_ends_it_and_gets_its_user_back(shop: RelyingParty, person: FlaskClient) -> None:
    tokens = shop.tokens(person)
    answer = asks(person, id_token_hint=tokens["id_token"], post_logout_redirect_uri=BYE, state="a&b")
    assert (answer.status_code, answer.headers["Location"]) == (303, BYE + "?state=a%26b")
    assert not logged_in(person)
    assert shop.refresh(tokens["refresh_token"]).status_code == 400


def test_a_query_of_the_address_stays(shop: RelyingParty, person: FlaskClient) -> None:
    hint = shop.tokens(person)["id_token"]
    answer = asks(person, id_token_hint=hint, post_logout_redirect_uri=BYE + "?from=authsvc", state="x")
    assert answer.headers["Location"] == BYE + "?from=authsvc&state=x"


def test_without_an_address_it_ends_at_our_login(shop: RelyingParty, person: FlaskClient) -> None:
    answer = asks(person, id_token_hint=shop.tokens(person)["id_token"])
    assert answer.headers["Location"] == "/login"
    assert not logged_in(person)


@pytest.mark.asvs("V10.6.2")
def test_without_a_hint_nobody_is_logged_out_unasked(shop: RelyingParty, person: FlaskClient) -> None:
    for fields in ({}, {"client_id": shop.id, "post_logout_redirect_uri": BYE}, {"id_token_hint": "ey.ey.x"}):
        page = asks(person, **fields)
        assert (page.status_code, "Log out?" in page.get_data(as_text=True)) == (200, True)
        assert logged_in(person)


def test_the_hint_of_another_session_asks_too(
    shop: RelyingParty, person: FlaskClient, browser: Callable[[], FlaskClient]
) -> None:
    other = browser()
    login(other)
    page = asks(person, id_token_hint=shop.tokens(other)["id_token"], post_logout_redirect_uri=BYE)
    assert (page.status_code, logged_in(person), logged_in(other)) == (200, True, True)


def test_an_access_token_is_no_hint(shop: RelyingParty, person: FlaskClient) -> None:
    assert asks(person, id_token_hint=shop.tokens(person)["access_token"]).status_code == 200
    assert logged_in(person)


def test_who_agrees_is_logged_out_and_sent_back(shop: RelyingParty, person: FlaskClient) -> None:
    page = asks(person, client_id=shop.id, post_logout_redirect_uri=BYE, state="x")
    assert "Shop asks to log you out." in page.get_data(as_text=True)
    assert "form-action 'self' https://shop.example;" in page.headers["Content-Security-Policy"]
    answer = person.post("/logout/confirm", data=hidden(page))
    assert answer.headers["Location"] == BYE + "?state=x"
    assert not logged_in(person)


@pytest.mark.promise("B8")
def test_no_other_site_can_say_yes(shop: RelyingParty, person: FlaskClient) -> None:
    fields = hidden(asks(person, client_id=shop.id, post_logout_redirect_uri=BYE))
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert person.post("/logout/confirm", data=fields, headers=elsewhere).status_code == 403
    assert logged_in(person)


@pytest.mark.promise("B8")
@pytest.mark.parametrize("uri", [each.replace("/cb", "/bye") for each in HOSTILE])
def test_the_browser_is_sent_only_to_an_address_that_is_registered(
    shop: RelyingParty, person: FlaskClient, browser: Callable[[], FlaskClient], uri: str
) -> None:
    hint = shop.tokens(person)["id_token"]
    for answer in (
        asks(browser(), client_id=shop.id, post_logout_redirect_uri=uri),
        asks(browser(), post_logout_redirect_uri=BYE),
        person.post("/logout/confirm", data={"post_logout_redirect_uri": BYE})
        if not uri
        else asks(person, id_token_hint=hint, post_logout_redirect_uri=uri),
    ):
        assert answer.headers["Location"] == "/login"


def test_a_client_cannot_name_another_as_itself(shop: RelyingParty, person: FlaskClient, services: Services) -> None:
    other = registered(services, shop.http, logout_uris=("https://other.example/bye",))
    answer = asks(person, id_token_hint=shop.tokens(person)["id_token"], client_id=other.id)
    assert (answer.status_code, logged_in(person)) == (400, True)


def test_a_stranger_is_sent_on(shop: RelyingParty, browser: Callable[[], FlaskClient]) -> None:
    assert asks(browser(), client_id=shop.id, post_logout_redirect_uri=BYE).headers["Location"] == BYE
    assert asks(browser()).headers["Location"] == "/login"


def test_it_may_come_as_a_form_of_the_clients_page(shop: RelyingParty, person: FlaskClient) -> None:
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example"}
    fields = {"id_token_hint": shop.tokens(person)["id_token"], "post_logout_redirect_uri": BYE}
    sent_on = person.post("/oauth/logout", data=fields, headers=elsewhere)
    assert logged_in(person)  # the POST itself does nothing
    assert person.get(sent_on.headers["Location"]).headers["Location"] == BYE
    assert not logged_in(person)


def test_a_parameter_that_stands_twice_is_refused(shop: RelyingParty, person: FlaskClient) -> None:
    hint = shop.tokens(person)["id_token"]
    assert person.get(f"/oauth/logout?id_token_hint={hint}&id_token_hint=x").status_code == 400
    assert logged_in(person)


def test_an_end_that_is_not_final_yet_is_told_so_before_the_client_is(
    shop: RelyingParty, person: FlaskClient, services: Services
) -> None:
    hint = shop.tokens(person)["id_token"]
    services.store.redis = cluster.sync_door("redis://127.0.0.1:1")
    answer = asks(person, id_token_hint=hint, post_logout_redirect_uri=BYE)
    assert answer.status_code == 202
    assert f'href="{BYE}"' in answer.get_data(as_text=True)
    assert not logged_in(person)
