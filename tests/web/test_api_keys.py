"""API keys of whoever is logged in, by JSON and on their page."""

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from authsvc.core.errors import TokenRefused
from authsvc.core.settings import DAY
from authsvc.domain.accounts import Account
from authsvc.domain.api_keys import MOST
from authsvc.services import Services
from authsvc.web.app import create_app
from tests.web.conftest import cookie_of, login

MakeServices = Callable[..., Services]


@pytest.fixture
def services(make_services: MakeServices) -> Services:
    return make_services(scopes=("notes:read",))


@pytest.fixture
def inside(client: FlaskClient, anna: Account) -> FlaskClient:
    login(client)
    return client


@pytest.fixture
def person(browser: Callable[[], FlaskClient], anna: Account) -> FlaskClient:
    person = browser()
    login(person)
    return person


def made(client: FlaskClient, **wanted: object) -> dict[str, str]:
    answer = client.post("/api/keys", json={"name": "backup", **wanted})
    assert answer.status_code == 201, answer.get_data(as_text=True)
    body: dict[str, str] = answer.get_json()
    return body


def is_good(services: Services, key: str) -> bool:
    try:
        return bool(services.api_keys.shown(key))
    except TokenRefused:
        return False


# -- by JSON -------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_listed_without_its_text(inside: FlaskClient, services: Services) -> None:
    key = made(inside, scopes=["notes:read"], expires_in=DAY)
    assert is_good(services, key["key"])
    assert (key["name"], key["scopes"], key["used"]) == ("backup", ["notes:read"], None)

    listed = inside.get("/api/keys")

    assert [each["id"] for each in listed.get_json()["keys"]] == [key["id"]]
    assert listed.get_json()["keys"][0]["used"]
    assert key["key"][4:] not in listed.get_data(as_text=True)
    assert listed.headers["Cache-Control"] == "no-store"


def test_without_a_word_a_key_is_for_forward_auth_and_for_good(inside: FlaskClient) -> None:
    key = made(inside)
    assert (key["scopes"], key["expires"]) == (["forward-auth"], None)


def test_a_revoked_key_is_gone(inside: FlaskClient, services: Services) -> None:
    key = made(inside)
    assert inside.delete(f"/api/keys/{key['id']}").status_code == 204
    assert not is_good(services, key["key"])
    assert inside.get("/api/keys").get_json() == {"keys": []}
    assert inside.delete(f"/api/keys/{key['id']}").status_code == 404


def test_keys_of_others_are_neither_listed_nor_revoked(
    inside: FlaskClient, services: Services, client: FlaskClient
) -> None:
    key = made(inside)
    eve = services.accounts.create("eve@example.org", services.hasher.hash("correct horse battery staple"))
    client.delete_cookie("session")
    login(client, eve.email)
    assert client.get("/api/keys").get_json() == {"keys": []}
    assert client.delete(f"/api/keys/{key['id']}").status_code == 404
    assert is_good(services, key["key"])


def test_a_new_key_needs_a_recent_password(inside: FlaskClient, make_services: MakeServices) -> None:
    later = create_app(make_services(later=DAY / 4)).test_client()
    later.set_cookie("session", cookie_of(inside))
    answer = later.post("/api/keys", json={"name": "backup"})
    assert (answer.status_code, answer.get_json()["code"]) == (403, "step_up_required")
    assert later.get("/api/keys").status_code == 200
    assert later.get("/account/keys").status_code == 200
    assert later.get("/account/keys/new").headers["Location"].startswith("/reauthenticate?next=/account/keys/new")
    assert (
        later.post("/account/keys/new", data={"name": "x"}, headers={"Sec-Fetch-Site": "same-origin"}).status_code
        == 303
    )
    assert later.get("/api/keys").get_json() == {"keys": []}


@pytest.mark.parametrize(
    ("wanted", "field", "code"),
    [
        ({"name": ""}, "name", "string_too_short"), ({"name": "a\nb"}, "name", "invalid"),
        ({"scopes": ["publish"]}, "scopes", "unknown_scope"), ({"scopes": []}, "scopes", "unknown_scope"),
        ({"scopes": "notes:read"}, "scopes", "list_type"), ({"expires_in": 1}, "expires_in", "invalid"),
        ({"expires_in": "60"}, "expires_in", "int_type"), ({"expires_in": 2**70}, "expires_in", "invalid"),
        ({"key": "mine"}, "key", "extra_forbidden"),
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_is_refused(inside: FlaskClient, wanted: dict[str, object], field: str, code: str) -> None:
    answer = inside.post("/api/keys", json={"name": "backup", **wanted})
    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.get_json()["errors"]] == [(field, code)]


def test_the_fifty_first_is_refused(inside: FlaskClient, services: Services, anna: Account) -> None:
    for _ in range(MOST):
        services.api_keys.create(anna.id, "one")
    answer = inside.post("/api/keys", json={"name": "backup"})
    assert (answer.status_code, answer.get_json()["code"]) == (409, "too_many")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", ""), ("DELETE", "/x")])
def test_a_stranger_has_no_keys(client: FlaskClient, method: str, path: str) -> None:
    assert client.open(f"/api/keys{path}", method=method, json={"name": "x"}).status_code == 401


def test_a_key_makes_no_keys(inside: FlaskClient) -> None:
    """It is for services behind us, and does not replace a login here."""
    key = made(inside)["key"]
    inside.delete_cookie("session")
    for path in ("/api/keys", "/api/session", "/account"):
        assert inside.get(path, headers={"Authorization": f"Bearer {key}"}).status_code in (302, 303, 401)


# -- on the page ---------------------------------------------------------------------------------------------------


def test_a_person_makes_a_key_reads_it_once_and_revokes_it(person: FlaskClient, services: Services) -> None:
    form = person.get("/account/keys/new").get_data(as_text=True)
    assert 'value="notes:read"' in form

    shown = person.post("/account/keys/new", data={"name": "<b>backup", "scopes": "notes:read", "life": "30"})

    text = shown.get_data(as_text=True)
    key = re.search(r"ask_[\w-]{88}", text)
    assert (shown.status_code, shown.headers["Cache-Control"]) == (200, "no-store")
    assert key
    assert is_good(services, key[0])
    assert "&lt;b&gt;backup" in text

    page = person.get("/account/keys").get_data(as_text=True)
    assert "&lt;b&gt;backup" in page
    assert key[0][4:] not in page
    path = re.search(r'action="(/account/keys/[\w-]+/revoke)"', page)
    assert path
    assert person.post(path[1]).headers["Location"] == "/account/keys?notice=revoked"
    assert not is_good(services, key[0])
    assert "backup" not in person.get("/account/keys").get_data(as_text=True)


def test_what_is_wrong_is_said_on_the_form(person: FlaskClient) -> None:
    answer = person.post("/account/keys/new", data={"name": " ", "scopes": "notes:read", "life": "30"})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert 'id="name-wrong"' in page
    for form in ({"name": "x", "life": "7"}, {"name": "x", "scopes": "publish", "life": "30"}, {"life": "30"}):
        assert person.post("/account/keys/new", data=form).status_code == 422


def test_a_key_may_have_more_than_one_scope(person: FlaskClient, services: Services) -> None:
    form = {"name": "x", "scopes": ["forward-auth", "notes:read"], "life": ""}
    page = person.post("/account/keys/new", data=form).get_data(as_text=True)
    key = re.search(r"ask_[\w-]{88}", page)
    assert key
    shown = services.api_keys.shown(key[0])
    assert (shown.scopes, shown.expires) == (("forward-auth", "notes:read"), None)


def test_the_account_leads_to_the_keys(person: FlaskClient) -> None:
    assert 'href="/account/keys"' in person.get("/account").get_data(as_text=True)
    assert 'href="/account/keys/new"' in person.get("/account/keys").get_data(as_text=True)
