"""From a stranger to an account, by way of a mail."""

from typing import Annotated

from flask import Blueprint, Response, request
from flask_babel import lazy_gettext
from pydantic import BeforeValidator, Field

from authsvc.core.errors import FieldError, InvalidFields
from authsvc.domain.links import CHANGE_EMAIL, VERIFY
from authsvc.web.accounts import ask_for_account
from authsvc.web.body import ProofBody, RegisterBody, form_body
from authsvc.web.guards import services, who
from authsvc.web.pages.forms import takes_form
from authsvc.web.pages.show import fields, now, page, see

blueprint = Blueprint("register", __name__)
WRONG_CODE = {"token_invalid": lazy_gettext("This code is wrong, was used before, or is older than ten minutes.")}
PROOF = ("token", "flow")


def without_gaps(code: object) -> object:
    """People copy `123 456`."""
    return "".join(code.split()) if isinstance(code, str) else code


Code = Annotated[str, BeforeValidator(without_gaps)]


class ProofForm(ProofBody):
    code: Code = Field("", max_length=20)


@blueprint.get("/register")
def register_page() -> Response:
    return see("/account") if who() else page("register.html")


@blueprint.post("/register")
@takes_form("register.html", keep=("email", "name"))
def register() -> Response:
    return see(f"/verify-email?flow={ask_for_account(form_body(RegisterBody))}")


@blueprint.get("/verify-email")
def verify_page() -> Response:
    """By the link a button, for mail scanners open links, too; by the flow a field for the code."""
    shown = fields(request.args, PROOF)
    if not shown["flow"]:
        services().links.peek(shown["token"], now(), VERIFY, CHANGE_EMAIL)
    return page("verify.html", fields=shown)


@blueprint.post("/verify-email")
@takes_form("verify.html", keep=PROOF, says=WRONG_CODE)
def verify() -> Response:
    services().registration.verify(with_code(form_body(ProofForm)).proof())
    return see("/account?notice=email" if who() else "/login?notice=verified")


def with_code(form: ProofForm) -> ProofForm:
    """Raises InvalidFields where the code was left out."""
    if not form.token and not form.code:
        raise InvalidFields(FieldError("code", "missing", "Fill this in."))
    return form
