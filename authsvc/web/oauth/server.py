"""Authlib's authorization server over our use cases: it finds the grant that a request names, checks redirect URI and
PKCE, and words what is wrong. What has to happen at once, in one transaction, is done in domain/grants.py.
"""

import json
from typing import Any, NamedTuple

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7636 import CodeChallenge
from flask import Response, request

from authsvc.core import scopes
from authsvc.domain.clients import REFRESH, Client
from authsvc.domain.codes import Code
from authsvc.domain.grants import Granted
from authsvc.domain.tokens import ACCESS_LIFE
from authsvc.web.guards import services
from authsvc.web.oauth.client_auth import authenticated
from authsvc.web.oauth.refusals import NO_STORE, by_protocol
from authsvc.web.oauth.request import Fields, audience, chosen

HERE = "https://localhost/oauth/token"  # Authlib asks for TLS; whether that is in front of us, our settings know better

Answer = tuple[int, dict[str, Any], list[tuple[str, str]]]


class Asked(OAuth2Request):  # type: ignore[misc]  # Authlib carries no types
    """A request at the token endpoint: the fields of its form."""

    def __init__(self, fields: Fields) -> None:
        super().__init__(request.method, HERE, headers=request.headers)
        self.payload = BasicOAuth2Payload(fields)

    @property
    def form(self) -> Fields:
        fields: Fields = self.payload.data
        return fields


class Known(NamedTuple):
    """A client as Authlib asks about it."""

    of: Client

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.of.grant_types


class Server(AuthorizationServer):  # type: ignore[misc]
    def create_oauth2_request(self, fields: Fields) -> Asked:
        return Asked(fields)

    def authenticate_client(self, asked: Asked, methods: list[str], endpoint: str = "token") -> Known:  # noqa: ARG002
        header = asked.headers.get("Authorization", "")
        return Known(authenticated(services().clients, header, asked.form))

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def handle_response(self, status: int, body: dict[str, Any], headers: list[tuple[str, str]]) -> Response:
        return Response(json.dumps(body), status, headers)

    def handle_error_response(self, asked: Asked, error: OAuth2Error) -> Response:  # noqa: ARG002
        return by_protocol(error)


class Pkce(CodeChallenge):  # type: ignore[misc]
    """S256, by every client. There is no code without a challenge: request.py sees to that."""

    def get_authorization_code_challenge(self, code: "Presented") -> str:
        return code.of.challenge

    def get_authorization_code_challenge_method(self, code: "Presented") -> str:  # noqa: ARG002
        return "S256"


class Presented(NamedTuple):
    """A code as Authlib asks about it."""

    of: Code

    def get_redirect_uri(self) -> str:
        return self.of.redirect_uri


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    def query_authorization_code(self, code: str, client: Known) -> Presented | None:
        found = services().codes.find(code)
        if found is None or found.client_id != client.of.id:
            return None
        if found.grant:
            services().grants.used_again(found.grant)  # whatever else stands in this request
        return Presented(found)

    def create_token_response(self) -> Answer:
        code = self.request.authorization_code.of
        _check_audience(self.request.form, code.audience)
        return _tokens(services().grants.redeem(code, refreshing=self.client.check_grant_type(REFRESH)))


class RefreshGrant(RefreshTokenGrant):  # type: ignore[misc]
    def validate_token_request(self) -> None:
        self.request.client = self._validate_request_client()
        if "refresh_token" not in self.request.form:
            raise InvalidRequestError("refresh_token is missing.")

    def create_token_response(self) -> Answer:
        form = self.request.form
        granted = services().grants.refresh(self.client.of.id, form["refresh_token"], form.get("scope"))
        _check_audience(form, granted.audience)
        return _tokens(granted)


class ServiceGrant(ClientCredentialsGrant):  # type: ignore[misc]
    def create_token_response(self) -> Answer:
        client, form = self.client.of, self.request.form
        known = scopes.allowed(services().settings, service=True) - set(scopes.FOR_LOGIN)
        scope = " ".join(chosen(tuple(each for each in client.scopes if each in known), form))
        token = services().tokens.of_client(client.id, scope=scope, audience=audience(client, form))
        return 200, _answer(token, scope), NO_STORE


def server() -> Server:
    made = Server()
    made.register_grant(CodeGrant, [Pkce(required=True)])
    made.register_grant(RefreshGrant)
    made.register_grant(ServiceGrant)
    return made


def _check_audience(form: Fields, granted: str) -> None:
    """`resource` may stand in each request (RFC 8707, 2.2), but only the authorization request chooses it."""
    if {form[name] for name in ("resource", "audience") if name in form} - {granted}:
        raise OAuth2Error(error="invalid_target", description="The tokens of this grant are for another audience.")


def _tokens(granted: Granted) -> Answer:
    parts = services()
    access = parts.tokens.of_session(
        granted.session, client_id=granted.client_id, scope=granted.scope, audience=granted.audience, grant=granted.id
    )
    body = _answer(access, granted.scope)
    if granted.refresh:
        body["refresh_token"] = granted.refresh
    if scopes.OPENID in granted.scope.split():
        body["id_token"] = parts.oidc.id_token(granted, access)
    return 200, body, NO_STORE


def _answer(access: str, scope: str) -> dict[str, Any]:
    return {"access_token": access, "token_type": "Bearer", "expires_in": ACCESS_LIFE, "scope": scope}
