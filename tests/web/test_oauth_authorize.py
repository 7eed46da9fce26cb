"""What may be asked for at the authorization endpoint, and where the answer goes."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authsvc.services import Services
from authsvc.web.app import create_app
from tests.conftest import ORIGIN
from tests.domain.test_oidc import HOSTILE
from tests.web.conftest import cookie_of
from tests.web.relying_party import CALLBACK, RelyingParty, allow, hidden, registered, told

# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.promise("B8")
@pytest.mark.parametrize("uri", HOSTILE)
@pytest.mark.asvs("V10.4.1")
def test_nobody_is_sent_to_an_address_that_is_not_the_clients(
    ours: RelyingParty, person: FlaskClient, uri: str
) -> None:
    for more in ({}, {"response_type": "token"}, {"prompt": "none"}, {"code_challenge": None}):
        answer = ours.authorize(person, redirect_uri=uri, **more)
        assert (answer.status_code, answer.headers.get("Location")) == (400, None)
        assert 'href="http' not in answer.get_data(as_text=True)


@pytest.mark.promise("B8")
@pytest.mark.parametrize(
    "more", [{"client_id": "nobody"}, {"client_id": None}, {"client_id": "\0"}, {"redirect_uri": None}]
)
def test_without_a_known_client_and_its_address_there_is_a_page_and_no_redirect(
    ours: RelyingParty, person: FlaskClient, more: dict[str, Any]
) -> None:
    answer = ours.authorize(person, **more)
    assert (answer.status_code, answer.headers.get("Location")) == (400, None)
    assert answer.mimetype == "text/html"


@pytest.mark.parametrize("twice", ["client_id", "redirect_uri"])
def test_an_address_that_stands_twice_leads_nowhere(ours: RelyingParty, person: FlaskClient, twice: str) -> None:
    asked = [*ours.asked().items(), (twice, ours.asked()[twice])]
    answer = person.get("/oauth/authorize", query_string="&".join(f"{k}={quote(v)}" for k, v in asked))
    assert (answer.status_code, answer.headers.get("Location")) == (400, None)


# -- parameters --------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"response_type": None}, "invalid_request"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": "id_token"}, "unsupported_response_type"),
    ({"response_type": "code id_token"}, "unsupported_response_type"),
    ({"response_type": "code token"}, "unsupported_response_type"),
    ({"response_type": "none"}, "unsupported_response_type"),
    ({"response_type": 'x"\\\r\n'}, "unsupported_response_type"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"response_mode": "form_post"}, "invalid_request"),
    ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    ({"code_challenge": None}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge_method": "s256"}, "invalid_request"),
    ({"code_challenge_method": "S512"}, "invalid_request"),
    ({"code_challenge": "x" * 42}, "invalid_request"),
    ({"code_challenge": "x" * 44}, "invalid_request"),
    ({"code_challenge": "x" * 42 + "="}, "invalid_request"),
    ({"code_challenge": "x" * 43 + "\n"}, "invalid_request"),
    ({"scope": "openid publish"}, "invalid_scope"),
    ({"scope": "openid  email"}, "invalid_scope"),
    ({"scope": "OPENID"}, "invalid_scope"),
    ({"scope": "openid\0"}, "invalid_scope"),
    ({"resource": "https://api.example"}, "invalid_target"),
    ({"audience": "https://api.example"}, "invalid_target"),
    ({"resource": ORIGIN, "audience": "https://api.example"}, "invalid_target"),
    ({"request": "ey.ey.x"}, "request_not_supported"),
    ({"request_uri": "https://shop.example/r"}, "request_uri_not_supported"),
    ({"registration": "{}"}, "registration_not_supported"),
    ({"prompt": "none login"}, "invalid_request"),
    ({"prompt": "create"}, "invalid_request"),
    ({"max_age": "-1"}, "invalid_request"),
    ({"max_age": "1.5"}, "invalid_request"),
    ({"max_age": "x"}, "invalid_request"),
    ({"max_age": "\u0661"}, "invalid_request"),
    ({"max_age": "1" * 30}, "invalid_request"),
    ({"nonce": "\0"}, "invalid_request"),
    ({"nonce": "x" * 513}, "invalid_request"),
    ({"nonce": "\u00e9"}, "invalid_request"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "error"), REFUSED)
@pytest.mark.asvs("V10.4.6")
def test_what_is_wrong_is_told_to_the_client(
    ours: RelyingParty, person: FlaskClient, more: dict[str, Any], error: str
) -> None:
    answer = ours.authorize(person, **more)
    assert answer.headers["Location"].startswith(CALLBACK + "?")
    said = told(answer)
    assert (said["error"], said["state"], said["iss"]) == (error, "a state", ORIGIN)
    assert "code" not in said


@pytest.mark.parametrize("twice", ["response_type", "scope", "state", "code_challenge", "nonce", "prompt", "unknown"])
def test_a_parameter_that_stands_twice_is_refused(ours: RelyingParty, person: FlaskClient, twice: str) -> None:
    asked = [*ours.asked(nonce="n", unknown="u").items(), (twice, "other")]
    answer = person.get("/oauth/authorize", query_string="&".join(f"{k}={quote(v)}" for k, v in asked))
    assert told(answer)["error"] == "invalid_request"
    assert told(answer).get("state") == (None if twice == "state" else "a state")


@pytest.mark.promise("B8")
@pytest.mark.parametrize("state", ["a\r\nSet-Cookie: x=y", "a\0b", "\u00e9", "\u2028", "a\tb", "\x7f"])
def test_a_state_that_could_be_more_than_a_state_is_not_sent_back(
    ours: RelyingParty, person: FlaskClient, state: str
) -> None:
    answer = ours.authorize(person, state=state)
    assert "state" not in told(answer)
    assert told(answer)["error"] == "invalid_request"
    assert "x=y" not in str(answer.headers)


@pytest.mark.promise("B8")
@pytest.mark.usefixtures("anna")
def test_whatever_stands_in_a_state_comes_back_as_it_was(ours: RelyingParty, person: FlaskClient) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=100))
    def comes_back(state: str) -> None:
        answer = ours.authorize(person, state=state)
        assert told(answer)["state"] == state
        assert urlsplit(answer.headers["Location"]).netloc == "shop.example"

    comes_back()


@pytest.mark.promise("B1")
@pytest.mark.timeout(120)
def test_no_parameters_break_the_endpoint(ours: RelyingParty, person: FlaskClient) -> None:
    names = st.sampled_from([*ours.asked(), "nonce", "prompt", "max_age", "login_hint", "id_token_hint", "since", "x"])

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.dictionaries(names, st.one_of(st.text(max_size=30), st.sampled_from(["none", "login", "1.", "0.A"]))))
    def answers(more: dict[str, str]) -> None:
        sent = {name: value.encode("utf-8", "replace") for name, value in ours.asked(**more).items()}
        for answer in (
            person.get("/oauth/authorize", query_string=sent),
            person.post("/oauth/authorize", data=sent),
            person.post("/consent", data={"request": str(more), "user": "x", "answer": "allow"}),
        ):
            assert answer.status_code in (200, 303, 400, 422)

    answers()


def test_a_request_that_is_too_long_to_be_led_back_to_is_refused(ours: RelyingParty, person: FlaskClient) -> None:
    assert ours.authorize(person, state="x" * 8000).status_code == 400
    assert told(ours.authorize(person, state="x" * 6000))["code"]


def test_parameters_that_mean_nothing_here_are_passed_over(ours: RelyingParty, person: FlaskClient) -> None:
    more = {"ui_locales": "de", "acr_values": "aal3", "display": "popup", "claims": "{}", "unknown": "x", "nonce": ""}
    assert told(ours.authorize(person, **more))["code"]


def test_a_client_without_scopes_in_its_request_gets_those_it_is_registered_with(
    services: Services, client: FlaskClient, person: FlaskClient
) -> None:
    modest = registered(services, client, first_party=True, wanted_scopes=("openid", "email"))
    assert modest.tokens(person, scope=None)["scope"] == "openid email"


@pytest.mark.asvs("V9.2.4")
def test_a_client_chooses_one_of_its_audiences(make_services: Callable[..., Services], person: FlaskClient) -> None:
    api, other = "https://api.example", "https://other.example"
    services = make_services(audiences=(api, other))
    http = create_app(services).test_client()
    shop = registered(services, http, first_party=True, audiences=(ORIGIN, api))
    browser = http.application.test_client()
    browser.environ_base.update(person.environ_base)
    browser.set_cookie("session", cookie_of(person))
    for more, expected in (({}, ORIGIN), ({"resource": api}, api), ({"audience": api}, api)):
        tokens = shop.tokens(browser, **more)
        assert services.tokens.claims(tokens["access_token"])["aud"] == expected
        again = shop.refresh(tokens["refresh_token"]).get_json()
        assert services.tokens.claims(again["access_token"])["aud"] == expected
    assert told(shop.authorize(browser, resource=other))["error"] == "invalid_target"
    assert shop.redeem(shop.code(browser), resource=api).get_json()["error"] == "invalid_target"


def test_a_client_that_logs_nobody_in_has_no_address_here(services: Services, client: FlaskClient) -> None:
    service, secret = services.clients.create("Job", service=True)
    assert RelyingParty(client, service.id, secret).authorize(client).status_code == 400


# -- pages on the way --------------------------------------------------------------------------------------------------


@pytest.mark.promise("B8")
def test_a_form_may_end_at_the_client_that_asked_and_nowhere_else(
    shop: RelyingParty, browser: Callable[[], FlaskClient], person: FlaskClient
) -> None:
    to_login = shop.authorize(browser()).headers["Location"]
    to_proof = shop.authorize(person, prompt="login").headers["Location"]
    failed = browser().post(
        "/login", data={"email": "a@b.c", "password": "x", "next": hidden(browser().get(to_login))["next"]}
    )
    for page in (browser().get(to_login), person.get(to_proof), shop.authorize(person), failed):
        assert "form-action 'self' https://shop.example;" in page.headers["Content-Security-Policy"]
    hostile = (
        "/login?next=/account", "/login", f"/login?next={quote('/oauth/authorize?client_id=x&redirect_uri=https://evil.example')}",
        f"/login?next={quote(f'/oauth/authorize?client_id={shop.id}&redirect_uri=https://evil.example')}",
        f"/login?next={quote(f'/elsewhere?client_id={shop.id}&redirect_uri={CALLBACK}')}",
    )  # fmt: skip
    for path in hostile:
        assert "form-action 'self';" in browser().get(path).headers["Content-Security-Policy"]


def test_no_page_on_the_way_is_kept_by_a_cache(
    shop: RelyingParty, browser: Callable[[], FlaskClient], person: FlaskClient
) -> None:
    for answer in (shop.authorize(browser()), shop.authorize(person), shop.authorize(person, scope="x")):
        assert "no-store" in answer.headers["Cache-Control"]
    assert "no-store" in allow(person, shop.authorize(person)).headers["Cache-Control"]
