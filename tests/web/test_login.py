from collections.abc import Callable
from http.cookies import SimpleCookie

import pytest
from flask import Flask
from flask.testing import FlaskClient

from authsvc.core.crypto import new_token, write_token
from authsvc.domain.accounts import Account
from authsvc.services import Services
from authsvc.web.app import create_app
from tests.conftest import PASSWORD
from tests.servers import Valkey
from tests.web.conftest import cookie_of, headers, login

pytestmark = pytest.mark.usefixtures("anna")


def test_a_login_by_json_answers_who_it_is_and_sets_the_cookie(client: FlaskClient, anna: Account) -> None:
    body = login(client)
    assert body["user"] == {"id": anna.id, "email": "anna@example.org", "name": "Anna", "roles": ["editor"]}
    assert body["session"]["amr"] == ["pwd"]
    assert client.get("/api/session").get_json() == body


def test_a_login_by_form_leads_to_the_account(browser: Callable[[], FlaskClient]) -> None:
    person = browser()
    answer = person.post("/login", data={"email": "anna@example.org", "password": PASSWORD})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account")
    assert "Firefox on Linux" in person.get("/account").get_data(as_text=True)


def test_the_cookie_is_host_bound_secure_and_out_of_reach_of_scripts(
    make_services: Callable[..., Services],
) -> None:
    app = create_app(make_services(cookie_secure=True, public_url="https://login.example.org"))
    answer = app.test_client().post("/api/login", json={"email": "anna@example.org", "password": PASSWORD})
    cookies = SimpleCookie()
    for header in answer.headers.getlist("Set-Cookie"):
        cookies.load(header)
    assert set(cookies) == {"__Host-session", "__Host-device"}
    for cookie in cookies.values():
        assert cookie["secure"] is True
        assert cookie["httponly"] is True
        assert (cookie["samesite"], cookie["path"], cookie["domain"]) == ("Lax", "/", "")
    assert cookies["__Host-session"]["max-age"] == ""
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"


def test_remember_makes_the_cookie_and_the_session_last(client: FlaskClient, services: Services) -> None:
    session = login(client, remember=True)["session"]
    cookie = client.get_cookie("session")
    assert cookie is not None
    assert cookie.max_age == services.settings.absolute_remember
    assert session["idle_expires"] > login(client)["session"]["idle_expires"]
    forgetful = client.get_cookie("session")
    assert forgetful is not None
    assert forgetful.max_age is None


@pytest.mark.promise("B3")
def test_a_wrong_password_and_an_unknown_email_get_the_same_answer(app: Flask) -> None:
    wrong = app.test_client().post("/api/login", json={"email": "anna@example.org", "password": "not this one"})
    unknown = app.test_client().post("/api/login", json={"email": "nobody@example.org", "password": "not this one"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.get_data() == unknown.get_data()
    assert headers(wrong) == headers(unknown)
    assert wrong.get_json()["code"] == "invalid_credentials"
    assert wrong.get_json()["methods"] == ["password"]
    assert wrong.headers["WWW-Authenticate"]


def test_a_disabled_account_gets_that_answer_too(client: FlaskClient, services: Services) -> None:
    services.accounts.disable("anna@example.org")
    answer = client.post("/api/login", json={"email": "anna@example.org", "password": PASSWORD})
    assert (answer.status_code, answer.get_json()["code"]) == (401, "invalid_credentials")


def test_a_failed_login_by_form_shows_the_page_again_with_the_email(browser: Callable[[], FlaskClient]) -> None:
    answer = browser().post("/login", data={"email": "anna@example.org", "password": "not this one", "next": "/x"})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 401
    assert "The email or the password is wrong." in page
    assert 'value="anna@example.org"' in page
    assert 'value="/x"' in page
    assert "not this one" not in page


@pytest.mark.promise("B2")
def test_a_planted_token_is_never_adopted(app: Flask, services: Services) -> None:
    mallory = app.test_client()
    login(mallory)
    unmade = write_token(services.keyring, new_token())
    for planted in ("x" * 88, unmade, cookie_of(mallory)):
        victim = app.test_client()
        victim.set_cookie("session", planted)
        login(victim)
        assert cookie_of(victim) != planted


@pytest.mark.promise("B2")
def test_a_login_ends_the_session_that_the_browser_held_before(app: Flask) -> None:
    person, earlier = app.test_client(), app.test_client()
    login(person)
    earlier.set_cookie("session", cookie_of(person))
    login(person)
    assert earlier.get("/api/session").status_code == 401
    assert [session["current"] for session in person.get("/api/sessions").get_json()["sessions"]] == [True]


@pytest.mark.promise("B8")
@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/account?x=1", "/account?x=1"),
        ("", "/account"),
        ("//evil.example", "/account"),
        ("/\\evil.example", "/account"),
        ("/\t/evil.example", "/account"),
        ("https://evil.example/", "/account"),
        ("javascript:alert(1)", "/account"),
        ("/x\r\nSet-Cookie: a=b", "/account"),
        ("/logout", "/account"),
        ("account", "/account"),
    ],
)
def test_next_never_leads_to_another_site(browser: Callable[[], FlaskClient], wanted: str, leads_to: str) -> None:
    person = browser()
    answer = person.post("/login", data={"email": "anna@example.org", "password": PASSWORD, "next": wanted})
    assert answer.headers["Location"] == leads_to
    assert person.get("/login", query_string={"next": wanted}).headers["Location"] == leads_to


@pytest.mark.promise("B4")
def test_the_eleventh_failure_waits_and_says_how_long(client: FlaskClient) -> None:
    guess = {"email": "anna@example.org", "password": "not this one"}
    assert [client.post("/api/login", json=guess).status_code for _ in range(11)] == [401] * 10 + [429]
    refused = client.post("/api/login", json={"email": "anna@example.org", "password": PASSWORD})
    assert refused.get_json()["code"] == "rate_limited"
    assert 1 <= int(refused.headers["Retry-After"]) <= 900


def test_more_logins_than_can_be_hashed_are_refused_early(make_services: Callable[..., Services]) -> None:
    services = make_services(hash_workers=1, hash_queue=0)
    app = create_app(services)
    with services.hasher._places:
        answer = app.test_client().post("/api/login", json={"email": "anna@example.org", "password": PASSWORD})
    assert (answer.status_code, answer.get_json()["code"]) == (503, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    login(app.test_client())


@pytest.mark.promise("R1")
def test_a_logout_is_final_and_takes_the_cookie(app: Flask) -> None:
    person, copycat = app.test_client(), app.test_client()
    login(person)
    copycat.set_cookie("session", cookie_of(person))
    answer = person.post("/api/logout")
    assert (answer.status_code, answer.get_data()) == (204, b"")
    assert person.get_cookie("session") is None
    assert copycat.get("/api/session").status_code == 401
    assert copycat.post("/api/logout").status_code == 204


def test_a_logout_of_nobody_is_done(client: FlaskClient) -> None:
    assert client.post("/api/logout").status_code == 204


def test_opening_the_logout_page_logs_nobody_out(browser: Callable[[], FlaskClient]) -> None:
    person = browser()
    login(person)
    assert "Log out?" in person.get("/logout").get_data(as_text=True)
    assert person.get("/api/session").status_code == 200
    assert person.post("/logout", data={}).headers["Location"] == "/login"
    assert person.get("/api/session").status_code == 401
    assert person.get("/logout").headers["Location"] == "/login"


@pytest.mark.promise("R1")
def test_while_redis_is_away_a_logout_says_by_when_it_is_final(app: Flask, services: Services, valkey: Valkey) -> None:
    person, copycat = app.test_client(), app.test_client()
    login(person)
    copycat.set_cookie("session", cookie_of(person))
    valkey.kill()
    answer = person.post("/api/logout")
    assert answer.status_code == 202
    assert answer.get_json()["status"] == "ending"
    assert answer.get_json()["final_by"].endswith("Z")
    assert person.get_cookie("session") is None
    assert copycat.get("/api/session").status_code == 401
    token = cookie_of(copycat)
    page = copycat.post("/logout", data={}, headers={"Sec-Fetch-Site": "same-origin"})
    assert (page.status_code, "will take effect everywhere by" in page.get_data(as_text=True)) == (202, True)
    now = services.store.clock()
    services.store.clock = lambda: now + 72
    copycat.set_cookie("session", token)
    assert copycat.post("/api/logout").status_code == 204
