"""The documents of discovery are true: what they list works, and what they do not list is refused."""

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata
from flask.testing import FlaskClient

from authsvc.core import scopes
from authsvc.services import Services
from authsvc.web.app import create_app
from tests.conftest import ORIGIN
from tests.web.relying_party import RelyingParty, allow, basic, registered, told

PATHS = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")
ELSEWHERE = {"revocation_feed_endpoint"}  # the bridge answers there: tests/bridge


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    return client.get(PATHS[0]).get_json()  # type: ignore[no-any-return]


def test_both_documents_are_the_same_and_in_order(make_services: Callable[..., Services]) -> None:
    """To the letter that is so with RS256, which OpenID Connect Discovery, 3 asks everybody to have."""
    client = create_app(make_services(signing_alg="RS256")).test_client()
    first, second = (client.get(path).get_json() for path in PATHS)
    assert first == second
    assert first["issuer"] == ORIGIN
    plain = {
        name: value.replace("http://", "https://") if isinstance(value, str) else value for name, value in first.items()
    }  # these validators ask for TLS, also on loopback
    AuthorizationServerMetadata(plain).validate()
    OpenIDProviderMetadata(plain).validate()


def test_pages_of_any_site_and_caches_may_have_them(client: FlaskClient) -> None:
    for path in (*PATHS, "/.well-known/jwks.json"):
        answer = client.get(path, headers={"Origin": "https://app.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cache-Control"] == "public, max-age=300, stale-while-revalidate=300"
        assert "Set-Cookie" not in answer.headers


def test_the_host_header_names_no_issuer(client: FlaskClient) -> None:
    assert client.get(PATHS[0], headers={"Host": "evil.example"}).get_json()["issuer"] == ORIGIN


def test_every_endpoint_that_is_listed_is_there(client: FlaskClient, document: dict[str, Any]) -> None:
    listed = {name: url for name, url in document.items() if name.endswith(("_endpoint", "_uri"))}
    assert len(listed) == 8
    for name, url in listed.items():
        assert url.startswith(ORIGIN + "/")
        if name not in ELSEWHERE:
            path = urlsplit(url).path
            assert 404 not in {client.get(path).status_code, client.post(path).status_code}, name


@pytest.mark.asvs("V10.4.4")
def test_every_grant_that_is_listed_works_and_no_other(
    shop: RelyingParty, person: FlaskClient, services: Services, document: dict[str, Any]
) -> None:
    service, secret = services.clients.create("Job", service=True)
    job = RelyingParty(shop.http, service.id, secret)
    worked = set()
    tokens = shop.tokens(person)
    worked.add("authorization_code")
    assert shop.refresh(tokens["refresh_token"]).status_code == 200
    worked.add("refresh_token")
    assert job.token(grant_type="client_credentials").status_code == 200
    worked.add("client_credentials")
    assert set(document["grant_types_supported"]) == worked
    for other in ("password", "implicit", "urn:ietf:params:oauth:grant-type:device_code"):
        assert shop.token(grant_type=other).get_json()["error"] == "unsupported_grant_type"


def test_every_way_to_prove_a_client_that_is_listed_works_and_no_other(
    services: Services, client: FlaskClient, document: dict[str, Any], person: FlaskClient
) -> None:
    listed = document["token_endpoint_auth_methods_supported"]
    assert listed == document["revocation_endpoint_auth_methods_supported"]
    assert listed == ["client_secret_basic", "client_secret_post", "none"]
    assert document["introspection_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post"]
    shop, program = registered(services, client), registered(services, client, public=True)
    token = shop.tokens(person)["refresh_token"]
    proofs: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"Authorization": basic(shop.id, shop.secret or "")}, {}),
        ({}, {"client_id": shop.id, "client_secret": shop.secret or ""}),
    ]
    for headers, fields in proofs:
        for path in ("/oauth/introspect", "/oauth/revoke"):
            answer = client.post(path, headers=headers, data={"token": "x", **fields})
            assert answer.status_code == 200, path
        token = client.post(
            "/oauth/token", headers=headers, data={"grant_type": "refresh_token", "refresh_token": token, **fields}
        ).get_json()["refresh_token"]
    assert program.tokens(person)["access_token"]
    assert client.post("/oauth/revoke", data={"token": "x", "client_id": program.id}).status_code == 200
    assert client.post("/oauth/introspect", data={"token": "x", "client_id": program.id}).status_code == 401
    jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assertion = {"client_assertion_type": jwt_bearer, "client_assertion": "ey.ey.x", "client_id": shop.id}
    refused = client.post("/oauth/token", data={"grant_type": "client_credentials", **assertion})
    assert refused.get_json()["error"] == "invalid_client"


def test_every_scope_that_is_listed_can_be_had_and_no_other(
    make_services: Callable[..., Services], person: FlaskClient
) -> None:
    services = make_services(scopes=("notes:read",))
    app = create_app(services)
    listed = set(app.test_client().get(PATHS[0]).get_json()["scopes_supported"])
    browser = app.test_client()
    browser.environ_base.update(person.environ_base)
    browser.set_cookie("session", person.get_cookie("session").value)  # type: ignore[union-attr]
    for_people = tuple(scopes.allowed(services.settings))
    shop = registered(services, app.test_client(), first_party=True, wanted_scopes=for_people)
    for_services = tuple(scopes.allowed(services.settings, service=True))
    service, secret = services.clients.create("Job", service=True, wanted_scopes=for_services)
    job = RelyingParty(app.test_client(), service.id, secret)
    had = set(shop.tokens(browser, scope=" ".join(for_people))["scope"].split())
    had |= set(job.token(grant_type="client_credentials").get_json()["scope"].split())
    assert had == listed
    assert told(shop.authorize(browser, scope="notes:write"))["error"] == "invalid_scope"


def test_every_prompt_that_is_listed_is_understood_and_no_other(
    shop: RelyingParty, person: FlaskClient, document: dict[str, Any]
) -> None:
    allow(person, shop.authorize(person))
    shown = {}
    for prompt in document["prompt_values_supported"]:
        answer = shop.authorize(person, prompt=prompt)
        where = urlsplit(answer.headers.get("Location", "")).path
        shown[prompt] = where if answer.status_code == 303 else "a page"
    assert shown == {"none": "/cb", "login": "/reauthenticate", "consent": "a page", "select_account": "a page"}
    assert told(shop.authorize(person, prompt="create"))["error"] == "invalid_request"


@pytest.mark.asvs("V10.4.6")
@pytest.mark.asvs("V10.6.1")
def test_responses_and_challenges_are_as_listed(
    shop: RelyingParty, person: FlaskClient, document: dict[str, Any]
) -> None:
    allow(person, shop.authorize(person))
    assert (document["response_types_supported"], document["response_modes_supported"]) == (["code"], ["query"])
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert told(shop.authorize(person, response_mode="query"))["code"]
    for other in ("token", "id_token", "code token", "code id_token", "code id_token token"):
        assert told(shop.authorize(person, response_type=other))["error"] == "unsupported_response_type"
    for mode in ("fragment", "form_post", "query.jwt"):
        assert told(shop.authorize(person, response_mode=mode))["error"] == "invalid_request"
    assert told(shop.authorize(person, code_challenge_method="plain"))["error"] == "invalid_request"


@pytest.mark.asvs("V10.4.7")
def test_what_is_not_supported_is_refused(shop: RelyingParty, person: FlaskClient, document: dict[str, Any]) -> None:
    assert document["request_parameter_supported"] is document["request_uri_parameter_supported"] is False
    assert told(shop.authorize(person, request="ey.ey.x"))["error"] == "request_not_supported"
    assert told(shop.authorize(person, request_uri="urn:x"))["error"] == "request_uri_not_supported"
    assert document["claims_parameter_supported"] is False
    for missing in ("registration_endpoint", "pushed_authorization_request_endpoint", "check_session_iframe"):
        assert missing not in document
    assert "dpop_signing_alg_values_supported" not in document
    assert shop.http.post("/oauth/par", data=shop.asked()).status_code == 404
    assert shop.http.post("/oauth/register", json={}).status_code == 404


def test_every_claim_that_is_listed_is_told_and_no_other(
    shop: RelyingParty, person: FlaskClient, document: dict[str, Any]
) -> None:
    import jwt

    tokens = shop.tokens(person, nonce="n")
    in_token = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert in_token.keys() | shop.userinfo(tokens["access_token"]).get_json().keys() == set(
        document["claims_supported"]
    )
    assert in_token["acr"] in document["acr_values_supported"]


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "RS256"])
def test_the_algorithm_that_is_listed_is_the_one_that_signs(
    make_services: Callable[..., Services], browser: Callable[[], FlaskClient], person: FlaskClient, alg: str
) -> None:
    import jwt

    services = make_services(signing_alg=alg)
    app = create_app(services)
    again = app.test_client()
    again.environ_base.update(person.environ_base)
    again.set_cookie("session", person.get_cookie("session").value)  # type: ignore[union-attr]
    shop = registered(services, app.test_client(), first_party=True)
    tokens = shop.tokens(again)
    assert shop.http.get(PATHS[0]).get_json()["id_token_signing_alg_values_supported"] == [alg]
    keys = jwt.PyJWKSet.from_dict(shop.http.get("/.well-known/jwks.json").get_json())
    for name, audience in (("id_token", shop.id), ("access_token", ORIGIN)):
        key = keys[jwt.get_unverified_header(tokens[name])["kid"]]
        assert jwt.decode(tokens[name], key, algorithms=[alg], audience=audience, issuer=ORIGIN)["iss"] == ORIGIN


def test_the_keys_are_public_ones(client: FlaskClient, services: Services) -> None:
    found = client.get("/.well-known/jwks.json").get_json()["keys"]
    assert found
    for key in found:
        assert not {"d", "p", "q", "k"} & key.keys()
        assert base64.urlsafe_b64decode(key["x"] + "==")


def test_the_answer_names_the_issuer_that_is_listed(
    shop: RelyingParty, person: FlaskClient, document: dict[str, Any]
) -> None:
    assert document["authorization_response_iss_parameter_supported"] is True
    for answer in (shop.authorize(person, scope="x"), allow(person, shop.authorize(person))):
        assert told(answer)["iss"] == document["issuer"]
