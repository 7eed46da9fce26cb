"""A client asks for the end of the session (OpenID Connect RP-Initiated Logout 1.0). With an ID token of this very
session it ends at once; otherwise its owner is asked, so that no other page can log anybody out."""

from urllib.parse import urlencode

from flask import Blueprint, Response, request
from pydantic import Field
from werkzeug.datastructures import MultiDict

from authsvc.core.errors import BadRequest, ClientRefused
from authsvc.domain.clients import Client
from authsvc.domain.oidc import Hint
from authsvc.domain.redirects import source, with_parameters
from authsvc.web.body import Body, form_body
from authsvc.web.guards import let_form_end_at, required, services, who
from authsvc.web.login import log_out
from authsvc.web.pages.show import after, page, see

blueprint = Blueprint("logout", __name__)
LOGOUT = "/oauth/logout"


class ConfirmForm(Body):
    client_id: str = Field("", max_length=64)
    post_logout_redirect_uri: str = Field("", max_length=2048)
    state: str = Field("", max_length=2048)


@blueprint.get(LOGOUT)
def logout() -> Response:
    fields = _once(request.args)
    hint = services().oidc.hint(fields.get("id_token_hint", ""))
    client = _client(fields, hint)
    own, target = who(), _target(client, fields)
    if own is None:
        return see(target)
    if hint is not None and hint.sid == own.sid:
        return after(log_out(), target)
    asked = page("logout_for.html", own=own, client=client, fields={**fields, "client_id": client.id if client else ""})
    let_form_end_at(source(target) if target.partition(":")[1] else "")
    return asked


@blueprint.post(LOGOUT)
def logout_by_form() -> Response:
    """The same, by way of a GET, for a form of another site comes without our cookie."""
    return see(f"{LOGOUT}?{urlencode(list(request.form.items(multi=True)))}")


@blueprint.post("/logout/confirm")
def confirm() -> Response:
    fields = form_body(ConfirmForm).model_dump()
    required()
    return after(log_out(), _target(_client(fields, None), fields))


def _once(asked: MultiDict[str, str]) -> dict[str, str]:
    if any(len(values) > 1 for values in asked.listvalues()):
        raise BadRequest
    return asked.to_dict()


def _client(fields: dict[str, str], hint: Hint | None) -> Client | None:
    """The client that asks. Raises ClientRefused if its ID token is another's."""
    client_id = fields.get("client_id", "")
    if hint is not None and client_id not in ("", hint.client_id):
        raise ClientRefused
    client_id = hint.client_id if hint else client_id
    return services().clients.find(client_id) if client_id else None


def _target(client: Client | None, fields: dict[str, str]) -> str:
    """Where the browser goes afterwards: an address that the client is registered with, or our own login page."""
    uri, state = fields.get("post_logout_redirect_uri", ""), fields.get("state", "")
    if client is None or uri not in client.logout_uris:
        return "/login"
    return with_parameters(uri, [("state", state)]) if state else uri
