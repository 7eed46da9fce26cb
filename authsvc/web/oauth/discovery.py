"""What this installation offers to clients, for their libraries (OpenID Connect Discovery 1.0, RFC 8414)."""

from typing import Any

from flask import Blueprint, Response, jsonify

from authsvc.core import scopes
from authsvc.domain.clients import CLIENT_CREDENTIALS, CODE, REFRESH
from authsvc.domain.tokens import acr
from authsvc.web.guards import services
from authsvc.web.oauth.client_auth import METHODS
from authsvc.web.oauth.request import PROMPTS
from authsvc.web.pages.show import AUTHORIZE

blueprint = Blueprint("discovery", __name__)
CLAIMS = ("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash", "name", "email",
          "email_verified")  # fmt: skip


@blueprint.get("/.well-known/openid-configuration")
def openid_configuration() -> Response:
    return _kept(metadata())


@blueprint.get("/.well-known/oauth-authorization-server")
def oauth_authorization_server() -> Response:
    return _kept(metadata())


@blueprint.get("/.well-known/jwks.json")
def jwks() -> Response:
    """The keys that access and ID tokens are signed with."""
    return _kept(services().keys.jwks())


def _kept(document: dict[str, Any]) -> Response:
    """Others may keep it for as long as a new key is published ahead of its use, and twice over."""
    answer, life = jsonify(document), services().settings.jwks_max_age
    answer.headers["Cache-Control"] = f"public, max-age={life}, stale-while-revalidate={life}"
    return answer


def metadata() -> dict[str, Any]:
    parts = services()
    issuer, secret_methods = parts.settings.public_url, [method for method in METHODS if method != "none"]
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}{AUTHORIZE}",
        "token_endpoint": f"{issuer}/oauth/token",
        "userinfo_endpoint": f"{issuer}/oauth/userinfo",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "end_session_endpoint": f"{issuer}/oauth/logout",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "revocation_feed_endpoint": f"{issuer}/revocations",  # ours: security event tokens, RFC 8417
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [CODE, REFRESH, CLIENT_CREDENTIALS],
        "token_endpoint_auth_methods_supported": list(METHODS),
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "introspection_endpoint_auth_methods_supported": secret_methods,
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": sorted(scopes.allowed(parts.settings, service=True)),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key.alg for key in parts.keys.public().values()}),
        "claims_supported": list(CLAIMS),
        "acr_values_supported": [acr(("pwd",)), acr(("pwd", "otp"))],
        "prompt_values_supported": list(PROMPTS),
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "authorization_response_iss_parameter_supported": True,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
    }
