"""A person is logged in at a client: from the first click to the last token."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from authsvc.services import Services
from tests.conftest import ORIGIN, PASSWORD
from tests.web.relying_party import CALLBACK, RelyingParty, allow, hidden, registered, told


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
    assert told(answer).keys() == {"code", "state", "iss"}
    assert (told(answer)["state"], told(answer)["iss"]) == ("a state", ORIGIN)
    tokens = shop.redeem(told(answer)["code"]).get_json()
    assert tokens.keys() == {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    assert shop.userinfo(tokens["access_token"]).get_json() == {
        "sub": services.tokens.claims(tokens["access_token"])["sub"],
        "name": "Anna",
        "email": "anna@example.org",
        "email_verified": True,
    }


def test_a_client_of_our_own_asks_nobody(services: Services, client: FlaskClient, person: FlaskClient) -> None:
    ours = registered(services, client, first_party=True)
    assert told(ours.authorize(person))["code"]


def test_a_request_may_come_as_a_form_of_the_clients_page(shop: RelyingParty, person: FlaskClient) -> None:
    """The browser sends no cookie with that, so it is sent on by a GET, with which it does."""
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example"}
    sent_on = shop.http.post("/oauth/authorize", data=shop.asked(), headers=elsewhere)
    assert sent_on.status_code == 303
    assert "Let Shop in?" in person.get(sent_on.headers["Location"]).get_data(as_text=True)


def test_tokens_carry_the_session_and_die_with_it(shop: RelyingParty, person: FlaskClient, services: Services) -> None:
    tokens = shop.tokens(person)
    claims = services.tokens.claims(tokens["access_token"])
    assert claims["sid"] == person.get("/api/session").get_json()["session"]["sid"]
    assert (claims["client_id"], claims["aud"], claims["scope"]) == (shop.id, ORIGIN, "openid profile email")
    person.post("/logout")
    assert shop.userinfo(tokens["access_token"]).status_code == 401
    refused = shop.refresh(tokens["refresh_token"])
    assert (refused.status_code, refused.get_json()["error"]) == (400, "invalid_grant")
    assert "ended" in refused.get_json()["error_description"]


def test_a_code_of_a_browser_that_has_logged_out_since_is_worth_nothing(
    shop: RelyingParty, person: FlaskClient
) -> None:
    code = shop.code(person)
    person.post("/logout")
    assert shop.redeem(code).get_json()["error"] == "invalid_grant"


def test_refreshed_tokens_are_those_of_the_same_login(
    shop: RelyingParty, person: FlaskClient, services: Services
) -> None:
    first = shop.tokens(person)
    second = shop.refresh(first["refresh_token"]).get_json()
    assert second["refresh_token"] != first["refresh_token"]
    one, other = (services.tokens.claims(each["access_token"]) for each in (first, second))
    assert (one["gid"], one["sid"], one["auth_time"]) == (other["gid"], other["sid"], other["auth_time"])
    assert one["jti"] != other["jti"]
    assert shop.userinfo(second["access_token"]).status_code == 200


# -- consent -----------------------------------------------------------------------------------------------------------


@pytest.mark.asvs("V10.7.2")
def test_the_page_names_client_scopes_account_and_where_it_leads(shop: RelyingParty, person: FlaskClient) -> None:
    page = shop.authorize(person).get_data(as_text=True)
    for said in ("Shop", "see your name", "see your email", "anna@example.org", "shop.example", "until you log out"):
        assert said in page


@pytest.mark.asvs("V10.7.1")
def test_who_has_agreed_is_asked_again_only_for_more(shop: RelyingParty, person: FlaskClient) -> None:
    allow(person, shop.authorize(person, scope="openid"))
    assert told(shop.authorize(person, scope="openid"))["code"]
    assert shop.authorize(person, scope="openid email").status_code == 200
    assert shop.authorize(person, scope="openid", prompt="consent").status_code == 200


def test_who_does_not_agree_is_sent_back_with_that_answer(shop: RelyingParty, person: FlaskClient) -> None:
    answer = told(allow(person, shop.authorize(person), "deny"))
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", "a state", ORIGIN)
    assert shop.authorize(person).status_code == 200


def test_another_account_may_be_used(shop: RelyingParty, person: FlaskClient) -> None:
    answer = allow(person, shop.authorize(person), "other")
    assert answer.headers["Location"].startswith("/login?next=/oauth/authorize%3F")
    assert person.get("/api/session").status_code == 401


@pytest.mark.promise("B8")
def test_no_other_site_can_agree_for_somebody(shop: RelyingParty, person: FlaskClient) -> None:
    page = shop.authorize(person)
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    answer = person.post("/consent", data={**hidden(page), "answer": "allow"}, headers=elsewhere)
    assert answer.status_code == 403
    assert shop.authorize(person).status_code == 200
    assert page.headers["X-Frame-Options"] == "DENY"


def test_the_answer_of_somebody_else_at_the_same_browser_is_not_taken(
    shop: RelyingParty, person: FlaskClient, services: Services
) -> None:
    services.accounts.create("bodo@example.org", services.hasher.hash(PASSWORD))
    page = shop.authorize(person)
    person.post("/api/login", json={"email": "bodo@example.org", "password": PASSWORD})
    again = allow(person, page)
    assert "bodo@example.org" in again.get_data(as_text=True)


def test_whoever_logs_out_before_the_answer_logs_in_again(shop: RelyingParty, person: FlaskClient) -> None:
    page = shop.authorize(person)
    person.post("/logout")
    assert allow(person, page).headers["Location"].startswith("/login?next=/oauth/authorize%3F")


@pytest.mark.parametrize(
    ("callback", "asks_again"),
    [(CALLBACK, False), ("http://127.0.0.1:8000/cb", True), ("com.example.app:/cb", True)],
)
def test_a_consent_is_remembered_only_where_nobody_else_can_take_the_clients_place(
    services: Services, client: FlaskClient, person: FlaskClient, callback: str, asks_again: bool
) -> None:
    program = registered(services, client, public=True, redirect_uris=(callback,))
    allow(person, program.authorize(person))
    assert (program.authorize(person).status_code == 200) is asks_again


def test_the_answer_is_judged_like_the_request(shop: RelyingParty, person: FlaskClient) -> None:
    fields = hidden(shop.authorize(person))
    evil = fields["request"].replace("shop.example", "evil.example")
    answer = person.post("/consent", data={**fields, "request": evil, "answer": "allow"})
    assert (answer.status_code, "evil.example" in answer.get_data(as_text=True)) == (400, False)
    wider = fields["request"].replace("openid", "openid+publish")
    answer = person.post("/consent", data={**fields, "request": wider, "answer": "allow"})
    assert told(answer)["error"] == "invalid_scope"


def test_an_answer_that_is_none_is_refused(shop: RelyingParty, person: FlaskClient) -> None:
    assert allow(person, shop.authorize(person), "perhaps").status_code == 422


# -- connected applications --------------------------------------------------------------------------------------------


@pytest.mark.asvs("V10.7.3")
def test_a_user_sees_what_they_have_let_in_and_takes_it_back_at_once(shop: RelyingParty, person: FlaskClient) -> None:
    tokens = shop.tokens(person)
    page = person.get("/account/applications").get_data(as_text=True)
    assert "Shop" in page
    assert "see your email" in page
    assert shop.userinfo(tokens["access_token"]).status_code == 200
    answer = person.post(f"/account/applications/{shop.id}/withdraw")
    assert "disconnected" in person.get(answer.headers["Location"]).get_data(as_text=True)
    assert shop.userinfo(tokens["access_token"]).status_code == 401
    assert "withdrawn" in shop.refresh(tokens["refresh_token"]).get_json()["error_description"]
    assert shop.authorize(person).status_code == 200
    assert "You have let no application in." in person.get("/account/applications").get_data(as_text=True)


def test_the_list_is_for_its_owner(browser: Callable[[], FlaskClient], shop: RelyingParty) -> None:
    assert browser().get("/account/applications").headers["Location"] == "/login?next=/account/applications"
    assert browser().post(f"/account/applications/{shop.id}/withdraw").headers["Location"] == "/login"


def test_a_client_names_itself_in_text_and_not_in_markup(
    services: Services, client: FlaskClient, person: FlaskClient
) -> None:
    odd, secret = services.clients.create("<b>Shop</b>", redirect_uris=(CALLBACK,))
    shop = RelyingParty(client, odd.id, secret)
    for page in (shop.authorize(person), shop.tokens(person) and person.get("/account/applications")):
        assert "<b>Shop" not in page.get_data(as_text=True)
        assert "&lt;b&gt;Shop" in page.get_data(as_text=True)


def test_the_second_use_of_a_code_kills_the_access_token_at_once(shop: RelyingParty, person: FlaskClient) -> None:
    code = shop.code(person)
    tokens = shop.redeem(code).get_json()
    assert shop.userinfo(tokens["access_token"]).status_code == 200
    assert shop.redeem(code).get_json()["error"] == "invalid_grant"
    assert shop.userinfo(tokens["access_token"]).status_code == 401
    assert shop.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"


def test_a_code_that_is_used_again_with_anything_wrong_kills_them_too(shop: RelyingParty, person: FlaskClient) -> None:
    code = shop.code(person)
    tokens = shop.redeem(code).get_json()
    assert shop.redeem(code, code_verifier="x" * 43).get_json()["error"] == "invalid_grant"
    assert shop.userinfo(tokens["access_token"]).status_code == 401
