"""Who an access token is about: told to the client that holds it, as far as its scopes go."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from authsvc.core.jwt import sign
from authsvc.services import Services
from authsvc.web.app import create_app
from tests.conftest import ORIGIN
from tests.web.conftest import login
from tests.web.relying_party import RelyingParty, registered


def test_userinfo_tells_what_the_scopes_allow(shop: RelyingParty, person: FlaskClient) -> None:
    for scope, known in (
        ("openid", {"sub"}),
        ("openid profile", {"sub", "name"}),
        ("openid email", {"sub", "email", "email_verified"}),
    ):
        token = shop.tokens(person, scope=scope)["access_token"]
        for method in ("GET", "POST"):
            answer = shop.http.open("/oauth/userinfo", method=method, headers={"Authorization": f"Bearer {token}"})
            assert answer.get_json().keys() == known
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_userinfo_refuses_as_rfc_6750_says(shop: RelyingParty, job: RelyingParty, person: FlaskClient) -> None:
    nobody = shop.http.get("/oauth/userinfo")
    assert (nobody.status_code, nobody.headers["WWW-Authenticate"]) == (401, 'Bearer realm="authsvc"')
    for token in ("x", "a.b.c", shop.tokens(person)["id_token"], shop.tokens(person)["refresh_token"]):
        answer = shop.userinfo(token)
        assert (answer.status_code, 'error="invalid_token"' in answer.headers["WWW-Authenticate"]) == (401, True)
    service = job.token(grant_type="client_credentials").get_json()["access_token"]
    for token in (service, shop.tokens(person, scope="email")["access_token"]):
        answer = shop.userinfo(token)
        assert answer.status_code == 403
        assert 'error="insufficient_scope", scope="openid"' in answer.headers["WWW-Authenticate"]
    assert person.get("/oauth/userinfo").status_code == 401  # a cookie is no token


@pytest.mark.asvs("V9.2.3")
@pytest.mark.asvs("V10.3.1")
def test_userinfo_takes_no_token_that_is_for_another_service(
    make_services: Callable[..., Services], person: FlaskClient
) -> None:
    services = make_services(audiences=("https://api.example",))
    app = create_app(services)
    browser = app.test_client()
    browser.environ_base.update(person.environ_base)
    login(browser)
    shop = registered(services, app.test_client(), first_party=True, audiences=(ORIGIN, "https://api.example"))
    assert shop.userinfo(shop.tokens(browser)["access_token"]).status_code == 200
    assert shop.userinfo(shop.tokens(browser, resource="https://api.example")["access_token"]).status_code == 401


def test_userinfo_tells_who_it_is_now(shop: RelyingParty, person: FlaskClient, services: Services) -> None:
    """A name that was changed since is not the one of the login."""
    token = shop.tokens(person)["access_token"]
    user = shop.userinfo(token).get_json()["sub"]
    with services.db.transaction() as sql:
        sql.connection().exec_driver_sql("UPDATE users SET name = 'Anna B.'")
    services.sessions.refresh(user)
    assert shop.userinfo(token).get_json()["name"] == "Anna B."


def test_a_token_that_another_key_has_signed_is_refused(
    shop: RelyingParty, person: FlaskClient, services: Services
) -> None:
    from authsvc.core import jwk

    claims = services.tokens.claims(shop.tokens(person)["access_token"])
    assert shop.userinfo(sign(services.keys.signing(), "at+jwt", claims)).status_code == 200
    assert shop.userinfo(sign(jwk.generate("ES256"), "at+jwt", claims)).status_code == 401
