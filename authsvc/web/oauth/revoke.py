"""Revocation (RFC 7009): a client gives back a token. It is told the same whether or not there was one."""

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from flask import Blueprint, Response, request

from authsvc.web.guards import services
from authsvc.web.oauth.client_auth import authenticated
from authsvc.web.oauth.token import form

blueprint = Blueprint("revoke", __name__)


@blueprint.post("/oauth/revoke")
def revoke() -> Response:
    fields, parts = form(), services()
    client = authenticated(parts.clients, request.headers.get("Authorization", ""), fields)
    if "token" not in fields:
        raise InvalidRequestError("token is missing.")
    parts.bearers.revoke(fields["token"], client.id)
    return Response(headers={"Cache-Control": "no-store"})
