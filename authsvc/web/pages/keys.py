"""The API keys that somebody has made for their programs."""

from typing import Literal

from flask import Blueprint, Response
from flask_babel import lazy_gettext
from pydantic import Field

from authsvc.core.settings import DAY
from authsvc.web.body import Body, form_body
from authsvc.web.guards import fresh, required, services
from authsvc.web.pages.forms import takes_form
from authsvc.web.pages.show import now, page, see

blueprint = Blueprint("keys", __name__)
PAGE = "/account/keys"
NEW = f"{PAGE}/new"
AS_MANY_AS_CAN_BE = {"too_many": lazy_gettext("You have as many API keys as one can have. Revoke one first.")}


class KeyForm(Body):
    """`life` in days; empty: until it is revoked."""

    name: str = Field(min_length=1, max_length=100)
    scopes: list[str] = Field(min_length=1)
    life: Literal["30", "90", "365", ""]


@blueprint.get(PAGE)
def keys() -> Response:
    return page("keys.html", keys=services().api_keys.of_user(required().user), now=now())


@blueprint.get(NEW)
def new_page() -> Response:
    fresh()
    return page("new_key.html")


@blueprint.post(NEW)
@takes_form("new_key.html", keep=("name",), says=AS_MANY_AS_CAN_BE)
def new() -> Response:
    """The page that answers is the only place where the key is ever shown: there is no other to be led to."""
    own, form = fresh(), form_body(KeyForm)
    life = int(form.life) * DAY if form.life else None
    key, text = services().api_keys.create(own.user, form.name, wanted=tuple(form.scopes), life=life)
    return page("key.html", key=key, text=text)


@blueprint.post(f"{PAGE}/<key_id>/revoke")
def revoke(key_id: str) -> Response:
    services().api_keys.revoke(required().user, key_id)
    return see(f"{PAGE}?notice=revoked")


@blueprint.app_context_processor
def _scopes() -> dict[str, object]:
    return {"key_scopes": services().api_keys.scopes}
