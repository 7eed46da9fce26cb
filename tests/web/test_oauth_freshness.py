"""How fresh a login has to be before a client gets a code, and that nobody gets around it."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient

from authsvc.services import Services
from authsvc.web.app import create_app
from tests.conftest import PASSWORD
from tests.web.conftest import cookie_of
from tests.web.relying_party import RelyingParty, allow, told

MINUTE, HOUR = 60, 3600


@pytest.fixture
def some_time_on(make_services: Callable[..., Services]) -> Callable[[FlaskClient, int], FlaskClient]:
    """The same browser some seconds from now."""

    def travel(browser: FlaskClient, seconds: int) -> FlaskClient:
        made = create_app(make_services(later=seconds)).test_client()
        made.environ_base.update(browser.environ_base)
        made.set_cookie("session", cookie_of(browser))
        return made

    return travel


Travel = Callable[[FlaskClient, int], FlaskClient]


def way(answer: Any) -> str:
    """Which page of ours the browser is sent to."""
    assert answer.status_code == 303
    return urlsplit(answer.headers["Location"]).path


def way_back(answer: Any) -> str:
    return parse_qs(urlsplit(answer.headers["Location"]).query)["next"][0]


@pytest.mark.parametrize(
    ("more", "error"),
    [({}, "login_required"), ({"max_age": "10"}, "login_required")],
)
def test_prompt_none_shows_a_stranger_no_page(
    ours: RelyingParty, browser: Callable[[], FlaskClient], more: dict[str, str], error: str
) -> None:
    assert told(ours.authorize(browser(), prompt="none", **more))["error"] == error


def test_prompt_none_shows_no_page(ours: RelyingParty, shop: RelyingParty, person: FlaskClient) -> None:
    assert told(ours.authorize(person, prompt="none"))["code"]
    assert told(shop.authorize(person, prompt="none"))["error"] == "consent_required"


def test_prompt_none_with_a_login_that_is_too_old_is_told(
    ours: RelyingParty, person: FlaskClient, some_time_on: Travel
) -> None:
    later = some_time_on(person, HOUR)
    assert told(ours.authorize(later, prompt="none", max_age="7200"))["code"]
    assert told(ours.authorize(later, prompt="none", max_age="3000"))["error"] == "login_required"
    assert told(ours.authorize(later, prompt="none", max_age="0"))["error"] == "login_required"


@pytest.mark.parametrize("more", [{"prompt": "login"}, {"max_age": "0"}, {"max_age": "60"}])
def test_who_must_prove_it_anew_does_so_once(
    ours: RelyingParty, person: FlaskClient, some_time_on: Travel, more: dict[str, str]
) -> None:
    later = some_time_on(person, HOUR)
    sent = ours.authorize(later, **more)
    assert way(sent) == "/reauthenticate"
    back = later.post("/reauthenticate", data={"password": PASSWORD, "next": way_back(sent)})
    assert told(later.get(back.headers["Location"]))["code"]


@pytest.mark.usefixtures("anna")
@pytest.mark.parametrize(
    "more", [{"prompt": "login"}, {"max_age": "0"}, {"max_age": "60"}, {"prompt": "login consent"}]
)
def test_a_stranger_proves_it_once(
    ours: RelyingParty, browser: Callable[[], FlaskClient], more: dict[str, str]
) -> None:
    person = browser()
    sent = ours.authorize(person, **more)
    assert way(sent) == "/login"
    fields = {"email": "anna@example.org", "password": PASSWORD, "next": way_back(sent)}
    answer = person.get(person.post("/login", data=fields).headers["Location"])
    answer = allow(person, answer) if "consent" in more.get("prompt", "") else answer
    assert told(answer)["code"]


def test_a_proof_cannot_be_skipped_by_hand(ours: RelyingParty, person: FlaskClient, some_time_on: Travel) -> None:
    logged_in, later = int(time.time()), some_time_on(person, 5 * MINUTE)
    sent = ours.authorize(later, prompt="login")
    assert way(later.get(way_back(sent))) == "/reauthenticate"
    _, _, tag = way_back(sent).rpartition(".")
    for mark in ("", "0.", "0.AAAA", f"{logged_in - 1}", f"{logged_in - 1}.", f"{logged_in - 1}.{tag}"):
        assert way(ours.authorize(later, prompt="login", since=mark)) == "/reauthenticate"


def test_the_mark_of_one_request_is_none_for_another(
    ours: RelyingParty, person: FlaskClient, some_time_on: Travel
) -> None:
    """A login that was fresh for one client's request is no proof for the next one's, which was made before it."""
    later = some_time_on(person, HOUR)
    back = way_back(ours.authorize(later, prompt="login"))
    proved = later.post("/reauthenticate", data={"password": PASSWORD, "next": back})
    assert told(later.get(proved.headers["Location"]))["code"]
    other = back.replace("a+state", "another")
    assert other != back
    assert way(later.get(other)) == "/reauthenticate"


def test_a_way_back_out_of_the_browsers_history_proves_nothing(
    ours: RelyingParty, person: FlaskClient, some_time_on: Travel
) -> None:
    sent = ours.authorize(person, prompt="login")
    person.post("/reauthenticate", data={"password": PASSWORD, "next": way_back(sent)})
    assert told(person.get(way_back(sent)))["code"]
    assert way(some_time_on(person, 11 * MINUTE).get(way_back(sent))) == "/reauthenticate"


def test_the_account_may_be_chosen(ours: RelyingParty, person: FlaskClient) -> None:
    page = ours.authorize(person, prompt="select_account")
    assert "Use another account" in page.get_data(as_text=True)
    assert told(allow(person, page))["code"]


def test_a_client_that_expects_somebody_else_is_told_so(
    ours: RelyingParty, person: FlaskClient, services: Services, browser: Callable[[], FlaskClient]
) -> None:
    id_token = ours.tokens(person)["id_token"]
    assert told(ours.authorize(person, id_token_hint=id_token, prompt="none"))["code"]
    services.accounts.create("bodo@example.org", services.hasher.hash(PASSWORD))
    bodo = browser()
    bodo.post("/api/login", json={"email": "bodo@example.org", "password": PASSWORD})
    for hint in (id_token, "x"):
        assert told(ours.authorize(bodo, id_token_hint=hint))["error"] == "login_required"
