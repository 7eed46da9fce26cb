"""A forgotten password, a login that was somebody else's, and an account that is to stay after all."""

from flask import Blueprint, Response, request
from pydantic import Field

from authsvc.core.errors import AuthsvcError
from authsvc.domain.links import KEEP, NOT_ME, RESET
from authsvc.web import errors
from authsvc.web.body import EmailBody, ResetBody, TokenBody, form_body
from authsvc.web.guards import client_ip, services
from authsvc.web.pages import words
from authsvc.web.pages.forms import takes_form
from authsvc.web.pages.register import PROOF, WRONG_CODE, Code, ProofForm, with_code
from authsvc.web.pages.show import after, fields, now, page, see

blueprint = Blueprint("recovery", __name__)


class ResetForm(ResetBody, ProofForm):
    code: Code = Field("", max_length=20)


@blueprint.get("/password/forgot")
def forgot_page() -> Response:
    return page("forgot.html", fields=fields(request.args, ("email",)))


@blueprint.post("/password/forgot")
@takes_form("forgot.html", keep=("email",))
def forgot() -> Response:
    flow = services().recovery.forgot(form_body(EmailBody).email, client_ip())
    return see(f"/password/reset?flow={flow}")


@blueprint.get("/password/reset")
def reset_page() -> Response:
    shown = fields(request.args, PROOF)
    if not any(shown.values()):
        return see("/password/forgot")
    if not shown["flow"]:
        services().links.peek(shown["token"], now(), RESET)
    return page("reset.html", fields=shown)


@blueprint.post("/password/reset")
@takes_form("reset.html", keep=PROOF, says=WRONG_CODE)
def reset() -> Response:
    form = form_body(ResetForm)
    return after(services().recovery.reset(with_code(form).proof(), form.password), "/login?notice=reset")


@blueprint.get("/not-me")
def not_me_page() -> Response:
    token = request.args.get("token", "")
    services().links.peek(token, now(), NOT_ME)
    return page("not_me.html", fields={"token": token})


@blueprint.post("/not-me")
def not_me() -> Response:
    """Ends that login, and goes on with a new password. The token of the next form stands in no address."""
    ending, token = services().recovery.disown(form_body(TokenBody).token)
    return page("reset.html", fields={"token": token}, disowned=True, final_by=ending.final_by)


@blueprint.get("/account/keep")
def keep_page() -> Response:
    token = request.args.get("token", "")
    services().links.peek(token, now(), KEEP)
    return page("keep.html", fields={"token": token})


@blueprint.post("/account/keep")
def keep() -> Response:
    services().deletions.keep_by_link(form_body(TokenBody).token)
    return see("/login?notice=kept")


def dead_link(error: AuthsvcError) -> Response:
    """A link of a mail that opens nothing (any more), and what to do then."""
    return page("dead_link.html", errors.problem(error)["status"], error=words.of(error, {}))
