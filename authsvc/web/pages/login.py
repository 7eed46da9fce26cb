"""In, out, and the proof that it is still you."""

from flask import Blueprint, Response, request
from flask_babel import lazy_gettext
from pydantic import Field

from authsvc.core.errors import EmailUnverified
from authsvc.web.accounts import step_up
from authsvc.web.body import LoginForm, PasswordBody, form_body
from authsvc.web.guards import required, who
from authsvc.web.login import log_in, log_out
from authsvc.web.pages.forms import takes_form
from authsvc.web.pages.show import after, fields, local_path, page, see
from authsvc.web.paths import LONGEST_PATH

blueprint = Blueprint("login", __name__)
WRONG_PASSWORD = {"invalid_credentials": lazy_gettext("The password is wrong.")}


class ReauthenticateForm(PasswordBody):
    next: str = Field("", max_length=LONGEST_PATH)


@blueprint.get("/", strict_slashes=False)  # else an empty path is redirected to the Host header
def home() -> Response:
    return see("/account" if who() else "/login")


@blueprint.get("/login")
def login_page() -> Response:
    wanted = request.args.get("next", "")
    if who():
        return see(_step_up_for(local_path(wanted)) if request.args.get("reauth") else local_path(wanted))
    return page("login.html", fields=fields(request.args, ("next", "email")))


@blueprint.post("/login")
@takes_form("login.html", keep=("email", "next", "remember"))
def login() -> Response:
    form = form_body(LoginForm)
    try:
        log_in(form)
    except EmailUnverified as error:
        return see(f"/verify-email?flow={error.flow}")
    return see(local_path(form.next))


@blueprint.get("/logout")
def logout_page() -> Response:
    return page("logout.html", own=required())


@blueprint.post("/logout")
def logout() -> Response:
    return after(log_out(), "/login")


@blueprint.get("/reauthenticate")
def reauthenticate_page() -> Response:
    required()
    return page("reauthenticate.html", fields={"next": request.args.get("next", "")})


@blueprint.post("/reauthenticate")
@takes_form("reauthenticate.html", keep=("next",), says=WRONG_PASSWORD)
def reauthenticate() -> Response:
    form = form_body(ReauthenticateForm)
    step_up(form.password)
    return see(local_path(form.next))


def to_login(_: Exception) -> Response:
    """A stranger on a page is sent to log in, and back to that page afterwards."""
    wanted = request.path if request.method == "GET" and request.path != "/logout" else ""
    return see("/login" + (f"?next={wanted}" if wanted else ""))


def to_reauthenticate(_: Exception) -> Response:
    """Whoever logged in long ago gives the password again, and goes on with what they wanted."""
    return see(_step_up_for(request.path))


def _step_up_for(path: str) -> str:
    return f"/reauthenticate?next={path}"
