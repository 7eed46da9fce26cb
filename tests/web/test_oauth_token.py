"""The token endpoint: who may have what, and how they are told no."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authsvc.services import Services
from authsvc.web.app import create_app
from tests.web.conftest import cookie_of
from tests.web.relying_party import CALLBACK, RelyingParty, basic, registered, said

FORM = "application/x-www-form-urlencoded"
OTHER_SITE = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}


# -- who asks ----------------------------------------------------------------------------------------------------------


def pair(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("secret", ["", "wrong", "x" * 43])
@pytest.mark.asvs("V10.4.10")
def test_a_client_without_its_secret_is_refused(job: RelyingParty, secret: str) -> None:
    for sent in (
        {"headers": {"Authorization": basic(job.id, secret)}, "data": {}},
        {"data": {"client_id": job.id, "client_secret": secret}},
        {"data": {"client_id": job.id}},
        {"data": {}},
    ):
        sent["data"] = {**sent["data"], "grant_type": "client_credentials"}
        answer = job.http.post("/oauth/token", **sent)  # type: ignore[arg-type]
        assert said(answer) == (401, "invalid_client")
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="authsvc"'


def test_a_secret_is_taken_in_the_header_or_in_the_form(job: RelyingParty) -> None:
    assert job.token(grant_type="client_credentials").status_code == 200
    fields = {"grant_type": "client_credentials", "client_id": job.id, "client_secret": job.secret}
    assert job.http.post("/oauth/token", data=fields).status_code == 200


def test_two_proofs_at_once_are_refused(job: RelyingParty) -> None:
    for more in ({"client_secret": job.secret}, {"client_id": "another"}):
        assert said(job.token(grant_type="client_credentials", **more)) == (401, "invalid_client")
    assert job.token(grant_type="client_credentials", client_id=job.id).status_code == 200


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !", "Basic " + base64.b64encode(b"\xff:\xff").decode(), "Bearer x", pair("nocolon"), "x"]
)
def test_a_header_that_is_none_is_refused(job: RelyingParty, header: str) -> None:
    answer = job.http.post(
        "/oauth/token", data={"grant_type": "client_credentials"}, headers={"Authorization": header}
    )  # fmt: skip
    assert said(answer) == (401, "invalid_client")


def test_id_and_secret_of_the_header_are_form_encoded(job: RelyingParty) -> None:
    assert job.secret
    encoded = (
        "".join(f"%{ord(char):02x}" for char in job.id) + ":" + "".join(f"%{ord(char):02X}" for char in job.secret)
    )
    sent = {"grant_type": "client_credentials"}
    assert job.http.post("/oauth/token", data=sent, headers={"Authorization": pair(encoded)}).status_code == 200


def test_a_public_client_names_itself_and_one_with_a_secret_cannot_pass_for_it(
    services: Services, client: FlaskClient, shop: RelyingParty, person: FlaskClient
) -> None:
    program = registered(services, client, public=True)
    assert program.tokens(person)["refresh_token"]
    code = shop.code(person)
    shop.secret = None
    assert said(shop.redeem(code)) == (401, "invalid_client")


# -- codes -------------------------------------------------------------------------------------------------------------


def test_a_code_is_bound_to_verifier_address_and_client(
    shop: RelyingParty, person: FlaskClient, services: Services
) -> None:
    code, other = shop.code(person), registered(services, shop.http)
    grant, request = (400, "invalid_grant"), (400, "invalid_request")
    assert said(shop.redeem(code, code_verifier=None)) == request
    assert said(shop.redeem(code, code_verifier="short")) == request
    assert said(shop.redeem(code, code_verifier="x" * 43)) == grant
    assert said(shop.redeem(code, code_verifier=shop.asked()["code_challenge"])) == grant  # as `plain` would have it
    assert said(shop.redeem(code, redirect_uri=None)) == grant
    assert said(shop.redeem(code, redirect_uri=CALLBACK + "/")) == grant
    assert said(other.redeem(code, code_verifier=shop.verifier)) == grant
    assert said(shop.redeem("x" * 43)) == grant
    assert said(shop.redeem("")) == request
    assert shop.redeem(code).status_code == 200  # and none of that has used it up


def test_a_code_is_dead_after_a_minute(
    shop: RelyingParty, person: FlaskClient, make_services: Callable[..., Services]
) -> None:
    code = shop.code(person)
    shop.http = create_app(make_services(later=60)).test_client()
    assert said(shop.redeem(code)) == (400, "invalid_grant")


def test_a_nonce_comes_back_in_the_id_token_and_not_in_later_ones(shop: RelyingParty, person: FlaskClient) -> None:
    import jwt

    def claims(token: str) -> dict[str, Any]:
        return jwt.decode(token, options={"verify_signature": False})  # type: ignore[no-any-return]

    tokens = shop.tokens(person, nonce="a nonce")
    assert claims(tokens["id_token"])["nonce"] == "a nonce"
    again = shop.refresh(tokens["refresh_token"]).get_json()
    assert "nonce" not in claims(again["id_token"])
    assert claims(again["id_token"])["auth_time"] == claims(tokens["id_token"])["auth_time"]
    assert "id_token" not in shop.tokens(person, scope="email")


# -- refresh tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("L8")
def test_two_tabs_get_the_same_successor_and_a_thief_ends_the_family(shop: RelyingParty, person: FlaskClient) -> None:
    first = shop.tokens(person)["refresh_token"]
    second, again = shop.refresh(first).get_json(), shop.refresh(first).get_json()
    assert second["refresh_token"] == again["refresh_token"]
    third = shop.refresh(second["refresh_token"]).get_json()
    refused = shop.refresh(first)
    assert said(refused) == (400, "invalid_grant")
    assert "used twice" in refused.get_json()["error_description"]
    assert refused.get_json() == shop.refresh(third["refresh_token"]).get_json()
    assert shop.userinfo(third["access_token"]).status_code == 401


def test_a_refresh_token_is_bound_to_its_client(shop: RelyingParty, person: FlaskClient, services: Services) -> None:
    token, other = shop.tokens(person)["refresh_token"], registered(services, shop.http)
    assert said(other.refresh(token)) == (400, "invalid_grant")
    assert shop.refresh(token).status_code == 200


def test_a_scope_may_be_narrowed_and_not_widened(shop: RelyingParty, person: FlaskClient) -> None:
    token = shop.tokens(person, scope="openid email")["refresh_token"]
    assert said(shop.refresh(token, scope="openid profile")) == (400, "invalid_scope")
    narrow = shop.refresh(token, scope="email").get_json()
    assert narrow["scope"] == "email"
    assert "id_token" not in narrow


def test_a_refresh_without_a_token_says_what_is_missing(shop: RelyingParty) -> None:
    assert said(shop.refresh("")) == (400, "invalid_request")


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grant_type",
    ["password", "implicit", "urn:ietf:params:oauth:grant-type:device_code", "", None, "authorization_code ", 'x"\\',
     "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange", "Refresh_Token"],
)  # fmt: skip
def test_other_grants_are_refused(shop: RelyingParty, grant_type: str | None) -> None:
    sent = {"username": "anna@example.org", "password": "x", "code": "x", "refresh_token": "x"}
    assert said(shop.token(grant_type=grant_type, **sent)) == (400, "unsupported_grant_type")


def test_each_client_has_only_the_grants_it_is_registered_for(
    shop: RelyingParty, job: RelyingParty, person: FlaskClient, services: Services
) -> None:
    denied = (400, "unauthorized_client")
    assert said(shop.token(grant_type="client_credentials")) == denied
    assert said(job.redeem("x")) == denied
    assert said(job.refresh("art_x")) == denied
    program = registered(services, shop.http, public=True)
    assert said(program.token(grant_type="client_credentials")) == denied


def test_only_a_form_is_read_and_each_field_once(job: RelyingParty) -> None:
    headers = {"Authorization": basic(job.id, job.secret or "")}
    sent: list[dict[str, Any]] = [
        {"json": {"grant_type": "client_credentials"}},
        {"data": "grant_type=client_credentials", "content_type": "text/plain"},
        {"data": {"grant_type": "client_credentials"}, "content_type": "multipart/form-data"},
        {"data": "grant_type=client_credentials&grant_type=client_credentials", "content_type": FORM},
        {"data": "grant_type=client_credentials&scope=publish&scope=presence", "content_type": FORM},
    ]
    for body in sent:
        assert said(job.http.post("/oauth/token", headers=headers, **body)) == (400, "invalid_request")
    by_query = job.http.post("/oauth/token?grant_type=client_credentials", headers=headers, content_type=FORM)
    assert said(by_query) == (400, "unsupported_grant_type")
    assert job.http.get("/oauth/token?grant_type=client_credentials", headers=headers).status_code == 405


def test_a_body_over_64_kib_is_413(job: RelyingParty) -> None:
    answer = job.http.post("/oauth/token", data=b"x" * (64 * 1024 + 1), content_type=FORM)
    assert said(answer) == (413, "invalid_request")


def test_while_the_database_is_away_a_program_is_told_when_to_come_back(
    shop: RelyingParty, person: FlaskClient, services: Services
) -> None:
    token = shop.tokens(person)["refresh_token"]
    with services.db.transaction() as sql:
        sql.connection().exec_driver_sql("ALTER TABLE grants RENAME TO away")
    answer = shop.refresh(token)
    assert said(answer) == (503, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_page_of_any_site_may_ask_with_what_it_has_itself(job: RelyingParty) -> None:
    asked = job.http.options("/oauth/token", headers={**OTHER_SITE, "Access-Control-Request-Method": "POST"})
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    headers = {**OTHER_SITE, "Authorization": basic(job.id, job.secret or "")}
    answer = job.http.post("/oauth/token", data={"grant_type": "client_credentials"}, headers=headers)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.promise("B8")
def test_a_cookie_alone_is_worth_nothing_below_oauth(
    shop: RelyingParty, person: FlaskClient, browser: Callable[[], FlaskClient]
) -> None:
    """There the rule about other sites does not hold, so no cookie may do anything there."""
    evil = browser()
    evil.set_cookie("session", cookie_of(person))
    evil.environ_base.update({"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_ORIGIN": "https://evil.example"})
    for path in ("/oauth/token", "/oauth/userinfo", "/oauth/revoke", "/oauth/introspect", "/oauth/logout"):
        answer = evil.post(path, data={"client_id": shop.id, "grant_type": "client_credentials", "token": "x"})
        assert answer.status_code in (303, 400, 401), path
    assert evil.post("/oauth/authorize", data=shop.asked()).headers["Location"].startswith("/oauth/authorize?")
    assert person.get("/api/session").status_code == 200


@pytest.mark.promise("B1")
@pytest.mark.timeout(120)
def test_no_form_breaks_the_endpoint(shop: RelyingParty, job: RelyingParty) -> None:
    names = st.sampled_from(
        ["grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "scope", "client_id", "client_secret",
         "resource", "audience", "x"]
    )  # fmt: skip
    values = st.one_of(
        st.sampled_from(
            ["authorization_code", "refresh_token", "client_credentials", shop.id, job.secret, "art_" + "A" * 51]
        ),
        st.text(max_size=30),
    )

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.dictionaries(names, values), st.booleans(), st.binary(max_size=50))
    def answers(fields: dict[str, str], known: bool, raw: bytes) -> None:
        headers = {"Authorization": basic(shop.id, shop.secret or "")} if known else {}
        sent = {name: value.encode("utf-8", "surrogatepass") for name, value in fields.items()}
        for answer in (
            shop.http.post("/oauth/token", data=sent, headers=headers),
            shop.http.post("/oauth/token", data=raw, content_type=FORM, headers=headers),
        ):
            assert answer.status_code in (200, 400, 401)

    answers()
