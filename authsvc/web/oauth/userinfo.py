"""Who the access token is about, for the client that holds it (OpenID Connect Core, 5.3)."""

from flask import Blueprint, Response, jsonify, request

from authsvc.core import scopes
from authsvc.core.errors import InsufficientScope, TokenRefused, Unauthenticated
from authsvc.domain.bearers import token_in
from authsvc.domain.oidc import about
from authsvc.web.guards import services

blueprint = Blueprint("userinfo", __name__)


@blueprint.route("/oauth/userinfo", methods=["GET", "POST"])
def userinfo() -> Response:
    """The token must be for us: one for another service is that service's to use, and not for it to learn more by."""
    parts = services()
    token = token_in(request.headers.get("Authorization", ""))
    if token is None:
        raise Unauthenticated
    bearer = parts.bearers.check(token)
    if parts.settings.public_url not in bearer.audiences:
        raise TokenRefused("audience")
    if not bearer.user or scopes.OPENID not in bearer.scopes:
        raise InsufficientScope(scopes.OPENID)
    answer = jsonify(about(bearer))
    answer.headers["Cache-Control"] = "no-store"
    return answer
