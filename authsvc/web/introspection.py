"""Introspection (RFC 7662): a service asks whether a token is good at this moment, and whose it is.

A service may ask for each of its requests, so like forward-auth this stands in front of Flask. A client learns about
tokens that are for one of its audiences, and about its own. Whatever is wrong with a token, also that it is none of the
client's business, the answer is the same: it is not active.
"""

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError, OAuth2Error
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wsgi import get_input_stream

from authsvc.core.errors import AuthsvcError, TokenRefused, Unavailable
from authsvc.core.scopes import EMAIL
from authsvc.domain import grants
from authsvc.domain.bearers import Bearer
from authsvc.domain.clients import Client
from authsvc.domain.tokens import acr
from authsvc.services import Services
from authsvc.web.body import LARGEST_BODY
from authsvc.web.gate import Environ, Start
from authsvc.web.oauth import refusals
from authsvc.web.oauth.client_auth import authenticated

PATH = "/oauth/introspect"
FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 16
INACTIVE = {"active": False}

log = logging.getLogger(__name__)


class Introspection:
    def __init__(self, app: Callable[[Environ, Start], Iterable[bytes]], services: Services) -> None:
        self._app = app
        self._services = services
        self._issuer = services.settings.public_url

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != PATH:
            return self._app(environ, start)
        environ["authsvc.route"] = PATH
        try:
            body = json.dumps(self._answer(environ)).encode()
        except OAuth2Error as error:
            return refusals.by_protocol(error)(environ, start)
        except HTTPException as error:
            return refusals.by_http(error)(environ, start)
        except AuthsvcError as error:
            return refusals.by_us(error)(environ, start)
        except Exception:
            log.exception("introspection failed")
            return refusals.by_us(Unavailable())(environ, start)
        start("200 OK", [*refusals.NO_STORE, ("Content-Length", str(len(body)))])
        return [body]

    def _answer(self, environ: Environ) -> dict[str, Any]:
        """Raises OAuth2Error, HTTPException, BadRequest or Unavailable."""
        fields = form(environ)
        client = self._client(environ.get("HTTP_AUTHORIZATION", ""), fields)
        if "token" not in fields:
            raise InvalidRequestError("token is missing.")
        try:
            bearer = self._find(fields["token"], client)
        except TokenRefused:
            return INACTIVE
        ours = bearer.client_id == client.id or any(each in client.audiences for each in bearer.audiences)
        return described(bearer, self._issuer) if ours else INACTIVE

    def _find(self, token: str, client: Client) -> Bearer:
        """What `token_type_hint` says is not needed: each kind of token shows what it is."""
        if token.startswith(grants.PREFIX):
            return self._services.bearers.of_refresh_token(token, client.id)
        return self._services.bearers.check(token)

    def _client(self, authorization: str, fields: dict[str, str]) -> Client:
        """A client with a secret. Raises InvalidClientError or StorageDown."""
        client = authenticated(self._services.clients, authorization, fields)
        if client.public:
            raise InvalidClientError("A client needs a secret for this.", status_code=401)
        return client


def form(environ: Environ) -> dict[str, str]:
    """The fields of a form; those without a value are left out (RFC 6749, 3.2). Raises InvalidRequestError or
    HTTPException."""
    if environ["REQUEST_METHOD"] != "POST":
        raise MethodNotAllowed(["POST"])
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != FORM:
        raise InvalidRequestError(f"The body must be a form, sent as {FORM}.")
    body = get_input_stream(environ, max_content_length=LARGEST_BODY).read()
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise InvalidRequestError("The body is no form of a few fields.") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise InvalidRequestError("A parameter stands twice.")
    return {name: value for name, value in pairs if value}


def described(bearer: Bearer, issuer: str) -> dict[str, Any]:
    """The members of RFC 7662, 2.2, and those of our access tokens. People are described as they are now."""
    audiences = bearer.audiences
    found = {
        "active": True,
        "iss": issuer,
        "sub": bearer.subject,
        "aud": audiences[0] if len(audiences) == 1 else audiences,
        "client_id": bearer.client_id or None,
        "scope": " ".join(bearer.scopes),
        "iat": bearer.issued,
        "exp": bearer.expires,
        "jti": bearer.jti,
        "token_type": "Bearer" if bearer.kind != "refresh" else None,
        "username": bearer.email if EMAIL in bearer.scopes else None,
    }
    if bearer.user:
        found["roles"] = bearer.roles
    if bearer.sid:
        login = {"sid": bearer.sid, "auth_time": bearer.authenticated, "amr": bearer.amr, "acr": acr(bearer.amr)}
        found.update(login)
    return {name: value for name, value in found.items() if value is not None}
