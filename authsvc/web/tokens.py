"""The session's own access token, for a page that calls another service."""

from flask import Blueprint

from authsvc.core import scopes
from authsvc.core.errors import FieldError, InvalidFields
from authsvc.domain.tokens import ACCESS_LIFE, SESSION_CLIENT
from authsvc.web.answers import AccessToken
from authsvc.web.body import AccessTokenBody, json_body
from authsvc.web.guards import required, services

blueprint = Blueprint("tokens", __name__, url_prefix="/api")


@blueprint.post("/token")
def create() -> AccessToken:
    """An access token (RFC 9068) of five minutes, which dies with the session. Without an audience it is for this
    service; without a scope it has none."""
    own, body, parts = required(), json_body(AccessTokenBody), services()
    audience, scope = _audience(body.audience), _scope(body.scope)
    token = parts.tokens.of_session(own, client_id=SESSION_CLIENT, scope=scope, audience=audience)
    return {"access_token": token, "token_type": "Bearer", "expires_in": ACCESS_LIFE, "scope": scope}


def _audience(wanted: str) -> str:
    settings = services().settings
    if wanted not in ("", settings.public_url, *settings.audiences):
        raise InvalidFields(FieldError("audience", "unknown_audience", "There is no such service."))
    return wanted or settings.public_url


def _scope(wanted: str) -> str:
    """A session outlives its tokens, so there is nothing to ask `offline_access` for."""
    asked = dict.fromkeys(wanted.split())
    if asked.keys() - scopes.allowed(services().settings) or scopes.OFFLINE in asked:
        raise InvalidFields(FieldError("scope", "unknown_scope", "There is no such scope for a session."))
    return " ".join(asked)
