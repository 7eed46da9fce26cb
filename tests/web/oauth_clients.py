"""Clients of this service, as the tests of its calls for clients need them."""

import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from authsvc.core.session import Session
from authsvc.domain.codes import Request
from authsvc.services import Services
from tests.conftest import ORIGIN

NOTES, BACK = "https://notes.example", "https://app.example/back"


@dataclass(frozen=True)
class Application:
    """A registered client, and its secret if it has one."""

    id: str
    secret: str | None

    @property
    def basic(self) -> dict[str, str]:
        return basic(self.id, self.secret or "")

    @property
    def fields(self) -> dict[str, str]:
        """What it sends in a form, in place of a header."""
        return {"client_id": self.id} | ({"client_secret": self.secret} if self.secret else {})


def basic(client_id: str, secret: str) -> dict[str, str]:
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def a_service(services: Services, **more: Any) -> Application:
    client, secret = services.clients.create("service", service=True, **more)
    return Application(client.id, secret)


def an_app(services: Services, **more: Any) -> Application:
    """One that logs people in."""
    client, secret = services.clients.create("app", redirect_uris=(BACK,), **more)
    return Application(client.id, secret)


def granted(services: Services, app: Application, own: Session, audience: str = ORIGIN) -> tuple[str, str]:
    """What the client gets after a user has agreed: an access and a refresh token."""
    request = Request(app.id, BACK, ("openid", "email"), audience, "c" * 43, None)
    code = services.codes.find(services.codes.issue(own, request))
    assert code
    grant = services.grants.redeem(code, refreshing=True)
    access = services.tokens.of_session(own, client_id=app.id, scope=grant.scope, audience=audience, grant=grant.id)
    assert grant.refresh
    return access, grant.refresh


def introspect(client: FlaskClient, asking: Application, token: str, **more: str) -> dict[str, Any]:
    answer = client.post("/oauth/introspect", data={"token": token, **more}, headers=asking.basic)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found: dict[str, Any] = answer.get_json()
    return found


def revoke(client: FlaskClient, asking: Application, token: str, **more: str) -> TestResponse:
    return client.post("/oauth/revoke", data={"token": token, **asking.fields, **more})
