"""The authorization endpoint (RFC 6749, 3.1), and the page on which a user agrees or not."""

from typing import Literal
from urllib.parse import urlencode, urlsplit

from authlib.oauth2.rfc6749.errors import AccessDeniedError, OAuth2Error
from authlib.oidc.core.errors import ConsentRequiredError, LoginRequiredError
from flask import Blueprint, Response, request
from pydantic import Field

from authsvc.core.session import Session
from authsvc.domain.redirects import source, with_parameters
from authsvc.web.body import Body, form_body
from authsvc.web.guards import let_form_end_at, services, who
from authsvc.web.login import log_out
from authsvc.web.oauth.visit import Visit, arrived, brought_back
from authsvc.web.pages.show import AUTHORIZE, after, page, see
from authsvc.web.paths import LONGEST_PATH

blueprint = Blueprint("authorize", __name__)


class ConsentForm(Body):
    """`user` is whom the page was shown to."""

    request: str = Field(max_length=LONGEST_PATH)
    user: str = Field(max_length=32)
    answer: Literal["allow", "deny", "other"]


@blueprint.get(AUTHORIZE)
def authorize() -> Response:
    return _go_on(arrived(request.args))


@blueprint.post(AUTHORIZE)
def authorize_by_form() -> Response:
    """The same (OpenID Connect Core, 3.1.2.1), by way of a GET, for a form of another site comes without our cookie."""
    return see(f"{AUTHORIZE}?{urlencode(list(request.form.items(multi=True)))}")


@blueprint.post("/consent")
def consent() -> Response:
    form = form_body(ConsentForm)
    visit, own = brought_back(form.request), who()
    if own is None or own.user != form.user or not visit.proved(own):
        return _go_on(visit)
    if form.answer == "other":
        return after(log_out(), visit.to_login())
    if form.answer == "deny":
        raise visit.wanted.refused(AccessDeniedError())
    services().consents.give(own.user, visit.wanted.client.id, visit.wanted.of.scopes)
    return _granted(visit, own)


def _go_on(visit: Visit) -> Response:
    """The next page on the way to a code. Raises an OAuth2Error where there is none, or none may be shown."""
    own, silent = who(), "none" in visit.wanted.prompt
    if own is None or not visit.proved(own):
        if silent:
            raise visit.wanted.refused(LoginRequiredError())
        return see(visit.to_proof() if own else visit.to_login())
    if visit.wanted.id_token_hint and not _is_about(visit.wanted.id_token_hint, own):
        raise visit.wanted.refused(LoginRequiredError("Somebody else is logged in."))
    if not _must_ask(visit, own):
        return _granted(visit, own)
    if silent:
        raise visit.wanted.refused(ConsentRequiredError())
    return _ask(visit, own)


def _is_about(id_token: str, own: Session) -> bool:
    hint = services().oidc.hint(id_token)
    return hint is not None and hint.user == own.user


def _must_ask(visit: Visit, own: Session) -> bool:
    """A consent is remembered where nobody else can take the client's place: it has a secret, or an address of its own.
    Any program of the user's machine can listen on loopback (RFC 8252, 8.6)."""
    wanted = visit.wanted
    if wanted.prompt & {"consent", "select_account"}:
        return True
    if wanted.client.first_party:
        return False
    known = not wanted.client.public or wanted.of.redirect_uri.startswith("https://")
    return not known or not services().consents.given(own.user, wanted.client.id).issuperset(wanted.of.scopes)


def _ask(visit: Visit, own: Session) -> Response:
    wanted = visit.wanted
    uri = urlsplit(wanted.of.redirect_uri)
    shown = page(
        "consent.html", own=own, client=wanted.client, scopes=wanted.of.scopes, request_query=visit.whole,
        host=uri.netloc or f"{uri.scheme}:",
    )  # fmt: skip
    let_form_end_at(source(wanted.of.redirect_uri))
    return shown


def _granted(visit: Visit, own: Session) -> Response:
    wanted, code = visit.wanted, services().codes.issue(own, visit.wanted.of)
    return _tell(wanted.of.redirect_uri, wanted.state, [("code", code)])


def refused(error: OAuth2Error) -> Response:
    """An error goes to the client (RFC 6749, 4.1.2.1)."""
    return _tell(error.redirect_uri, error.state, [(n, v) for n, v in error.get_body() if n != "state"])


def _tell(redirect_uri: str, state: str | None, parameters: list[tuple[str, str]]) -> Response:
    """With `state`, and `iss` (RFC 9207), by a 303: a form is not sent on (RFC 9700, 4.12)."""
    stated = [("state", state)] if state else []
    return see(with_parameters(redirect_uri, [*parameters, *stated, ("iss", services().settings.public_url)]))
