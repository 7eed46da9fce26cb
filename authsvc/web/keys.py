"""API keys of the caller, for programs that act for them."""

from flask import Blueprint, Response

from authsvc.web.answers import ApiKeyList, NewApiKey, api_key
from authsvc.web.body import ApiKeyBody, json_body
from authsvc.web.guards import fresh, required, services

blueprint = Blueprint("keys", __name__, url_prefix="/api/keys")


@blueprint.post("")
def create() -> tuple[NewApiKey, int]:
    """Make an API key. It is shown in this answer and never again; its use needs no login."""
    own, body = fresh(), json_body(ApiKeyBody)
    wanted = None if body.scopes is None else tuple(dict.fromkeys(body.scopes))
    key, text = services().api_keys.create(own.user, body.name, wanted=wanted, life=body.expires_in)
    return {**api_key(key), "key": text}, 201


@blueprint.get("")
def index() -> ApiKeyList:
    """The caller's API keys that are not revoked, newest first."""
    return {"keys": [api_key(key) for key in services().api_keys.of_user(required().user)]}


@blueprint.delete("/<key_id>")
def revoke(key_id: str) -> Response:
    """Revoke an API key of the caller: it is refused from now on."""
    services().api_keys.revoke(required().user, key_id)
    return Response(status=204)
