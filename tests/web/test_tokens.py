"""A session's own access token, and revocation by clients (RFC 7009)."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from authsvc.core.crypto import read_token
from authsvc.core.errors import GrantRefused
from authsvc.core.session import Session
from authsvc.domain.accounts import Account
from authsvc.services import Services
from tests.conftest import ORIGIN
from tests.web.conftest import cookie_of, login
from tests.web.oauth_clients import NOTES, a_service, an_app, basic, granted, introspect, revoke


@pytest.fixture
def services(make_services: Callable[..., Services]) -> Services:
    return make_services(audiences=(NOTES,), scopes=("notes:read",))


@pytest.fixture
def own(client: FlaskClient, anna: Account, services: Services) -> Session:
    login(client)
    token = read_token(services.keyring, cookie_of(client))
    session = services.sessions.load(token) if token else None
    assert session
    return session


# -- POST /api/token -----------------------------------------------------------------------------------------------


def test_a_page_gets_the_token_of_its_session(client: FlaskClient, own: Session, services: Services) -> None:
    answer = client.post("/api/token", json={})

    body = answer.get_json()
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 300, "")
    claims = services.tokens.claims(body["access_token"], audience=ORIGIN)
    assert claims.pop("jti")
    assert claims == {
        "iss": ORIGIN, "sub": own.user, "aud": ORIGIN, "iat": claims["iat"], "exp": claims["iat"] + 300,
        "client_id": "authsvc-session", "scope": "", "sid": own.sid, "auth_time": own.authenticated, "amr": ["pwd"],
        "acr": "aal1", "roles": ["editor"],
    }  # fmt: skip


@pytest.mark.usefixtures("own")
def test_audience_and_scope_are_what_the_installation_allows(client: FlaskClient, services: Services) -> None:
    wanted = {"audience": NOTES, "scope": "notes:read openid  notes:read forward-auth"}
    body = client.post("/api/token", json=wanted).get_json()
    assert body["scope"] == "notes:read openid forward-auth"
    claims = services.tokens.claims(body["access_token"])
    assert (claims["aud"], claims["scope"]) == (NOTES, body["scope"])


@pytest.mark.parametrize(
    ("wanted", "field", "code"),
    [
        ({"audience": "https://evil.example"}, "audience", "unknown_audience"),
        ({"audience": NOTES + "/"}, "audience", "unknown_audience"),
        ({"scope": "notes:write"}, "scope", "unknown_scope"),
        ({"scope": "notes:read publish"}, "scope", "unknown_scope"),
        ({"scope": "revocations"}, "scope", "unknown_scope"),
        ({"scope": "offline_access"}, "scope", "unknown_scope"),
        ({"scope": None}, "scope", "string_type"),
        ({"lifetime": 1}, "lifetime", "extra_forbidden"),
    ],
)
@pytest.mark.usefixtures("own")
def test_anything_else_is_refused(client: FlaskClient, wanted: dict[str, str], field: str, code: str) -> None:
    answer = client.post("/api/token", json=wanted)
    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.get_json()["errors"]] == [(field, code)]


def test_a_stranger_gets_none(client: FlaskClient) -> None:
    answer = client.post("/api/token", json={})
    assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthenticated")


@pytest.mark.promise("B8")
@pytest.mark.usefixtures("own")
def test_a_page_of_another_site_gets_none(client: FlaskClient) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        answer = client.post("/api/token", json={}, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "cross_site")
    assert client.post("/api/token", data={}).status_code in (403, 415)


def test_a_bearer_token_gets_no_further_one(client: FlaskClient, own: Session) -> None:
    """Or it would outlive its five minutes."""
    token = client.post("/api/token", json={}).get_json()["access_token"]
    client.delete_cookie("session")
    assert client.post("/api/token", json={}, headers={"Authorization": f"Bearer {token}"}).status_code == 401


# -- POST /oauth/revoke --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["access", "refresh"])
@pytest.mark.parametrize("public", [True, False], ids=["public", "with a secret"])
def test_what_a_client_gives_back_ends_its_grant(
    client: FlaskClient, own: Session, services: Services, kind: str, public: bool
) -> None:
    app, asking = an_app(services, public=public), a_service(services)
    access, refresh = granted(services, app, own)
    staying, _ = granted(services, app, own)

    answer = revoke(client, app, access if kind == "access" else refresh)

    assert (answer.status_code, answer.get_data()) == (200, b"")
    assert answer.headers["Cache-Control"] == "no-store"
    assert not introspect(client, asking, access)["active"]
    assert introspect(client, asking, staying)["active"]
    with pytest.raises(GrantRefused):
        services.grants.refresh(app.id, refresh)
    assert client.get("/api/session").status_code == 200, "the session goes on"


def test_a_service_revokes_its_own_token(client: FlaskClient, services: Services) -> None:
    service = a_service(services)
    token, other = (services.tokens.of_client(service.id, scope="", audience=ORIGIN) for _ in range(2))
    assert introspect(client, service, token)["active"]
    for _ in range(2):
        assert revoke(client, service, token).status_code == 200
    assert not introspect(client, service, token)["active"]
    assert introspect(client, service, other)["active"]


def test_what_is_somebody_elses_stays(client: FlaskClient, own: Session, services: Services) -> None:
    app, thief, service = an_app(services), an_app(services), a_service(services)
    access, refresh = granted(services, app, own)
    token = services.tokens.of_client(service.id, scope="", audience=ORIGIN)
    for each in (access, refresh, token, "x", "art_x", cookie_of(client)):
        assert revoke(client, thief, each).status_code == 200
    assert introspect(client, service, access)["active"]
    assert introspect(client, service, token)["active"]
    assert services.grants.refresh(app.id, refresh)


def test_what_no_client_has_got_is_not_a_clients_to_revoke(
    client: FlaskClient, own: Session, anna: Account, services: Services
) -> None:
    app, asking = an_app(services), a_service(services)
    token = client.post("/api/token", json={}).get_json()["access_token"]
    _, key = services.api_keys.create(anna.id, "backup")
    for each in (token, key):
        answer = revoke(client, app, each)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "unsupported_token_type")
        assert introspect(client, asking, each)["active"]


def test_only_a_client_revokes(client: FlaskClient, own: Session, services: Services) -> None:
    app, asking = an_app(services), a_service(services)
    access, _ = granted(services, app, own)
    for headers, fields in (
        ({}, {}), ({}, {"client_id": app.id}), (basic(app.id, "wrong"), {}), ({}, {"client_id": "nobody"}),
    ):  # fmt: skip
        answer = client.post("/oauth/revoke", data={"token": access, **fields}, headers=headers)
        assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client")
    answer = client.post("/oauth/revoke", data=app.fields)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_request")
    assert introspect(client, asking, access)["active"]


def test_a_page_of_any_origin_may_give_back_its_token(client: FlaskClient, own: Session, services: Services) -> None:
    app = an_app(services, public=True)
    _, refresh = granted(services, app, own)
    headers = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
    answer = client.post("/oauth/revoke", data={"token": refresh, **app.fields}, headers=headers)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
    assert "Access-Control-Allow-Credentials" not in answer.headers
