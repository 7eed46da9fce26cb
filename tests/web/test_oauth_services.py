"""Tokens that a service gets for itself (RFC 6749, 4.4)."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from authsvc.services import Services
from authsvc.web.app import create_app
from tests.conftest import ORIGIN
from tests.web.relying_party import RelyingParty, registered, said


def test_a_service_gets_a_token_of_its_own_and_nothing_else(job: RelyingParty, services: Services) -> None:
    body = job.token(grant_type="client_credentials").get_json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
    claims = services.tokens.claims(body["access_token"])
    assert (claims["sub"], claims["client_id"], claims["scope"]) == (job.id, job.id, "publish presence")
    assert "sid" not in claims
    assert job.token(grant_type="client_credentials", scope="publish").get_json()["scope"] == "publish"
    for scope in ("openid", "publish openid", "revocations", "nonsense"):
        assert said(job.token(grant_type="client_credentials", scope=scope)) == (400, "invalid_scope")


def test_a_client_that_logs_people_in_too_is_nobody_itself(services: Services, client: FlaskClient) -> None:
    both = registered(services, client, service=True, wanted_scopes=("openid", "email", "publish"))
    assert both.token(grant_type="client_credentials").get_json()["scope"] == "publish"
    assert said(both.token(grant_type="client_credentials", scope="openid")) == (400, "invalid_scope")


@pytest.mark.asvs("V9.2.4")
def test_a_service_asks_for_one_of_its_audiences(make_services: Callable[..., Services]) -> None:
    api = "https://api.example"
    services = make_services(audiences=(api, "https://other.example"))
    made, secret = services.clients.create("Job", service=True, audiences=(api,))
    job = RelyingParty(create_app(services).test_client(), made.id, secret)
    token = job.token(grant_type="client_credentials").get_json()["access_token"]
    assert services.tokens.claims(token)["aud"] == api
    for audience in (ORIGIN, "https://other.example"):
        assert said(job.token(grant_type="client_credentials", resource=audience)) == (400, "invalid_target")
