"""The pages for people. Plain HTML and forms; every POST answers 303."""

import time
from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, redirect, render_template, request

from authsvc.core.errors import AuthsvcError, InvalidFields, Unauthenticated
from authsvc.domain.sessions import Ending
from authsvc.web import errors
from authsvc.web.answers import rfc3339
from authsvc.web.body import LoginForm, form_body
from authsvc.web.guards import required, services, who
from authsvc.web.login import log_in, log_out
from authsvc.web.sessions import end_one

blueprint = Blueprint("pages", __name__)


@blueprint.get("/", strict_slashes=False)  # else an empty path is redirected to the Host header
def home() -> Response:
    return see("/account" if who() else "/login")


@blueprint.get("/login")
def login_page() -> Response:
    if who():
        return see(local_path(request.args.get("next", "")))
    return make_response(render_template("login.html", next=request.args.get("next", "")))


@blueprint.post("/login")
def login() -> Response:
    try:
        form = form_body(LoginForm)
        log_in(form)
    except AuthsvcError as error:
        return _login_again(error)
    return see(local_path(form.next))


@blueprint.get("/logout")
def logout_page() -> Response:
    return make_response(render_template("logout.html", own=required()))


@blueprint.post("/logout")
def logout() -> Response:
    return _after(log_out(), "/login")


@blueprint.get("/account")
def account() -> Response:
    own = required()
    listed = services().sessions.of_user(own.user)
    return make_response(render_template("account.html", own=own, sessions=listed))


@blueprint.post("/account/sessions/<sid>/end")
def end_session(sid: str) -> Response:
    return _after(end_one(sid), "/account")


@blueprint.post("/account/sessions/end-others")
def end_others() -> Response:
    own = required()
    return _after(services().sessions.end_others(own.user, keep=own.sid), "/account")


@blueprint.errorhandler(Unauthenticated)
def to_login(error: Unauthenticated) -> Response:  # noqa: ARG001 - Flask's signature
    """A stranger on a page is sent to log in, and back to that page afterwards."""
    wanted = request.path if request.method == "GET" and request.path != "/logout" else ""
    return see("/login" + (f"?next={wanted}" if wanted else ""))


@blueprint.app_template_filter("when")
def when(seconds: int) -> str:
    """How long ago, in words."""
    ago = max(0, int(time.time()) - seconds)
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if ago >= size:
            count = ago // size
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


blueprint.add_app_template_filter(rfc3339)


def local_path(wanted: str) -> str:
    """Where to go after the login: a path of ours, never another site."""
    plain = all(" " < char < "\x7f" for char in wanted) and "\\" not in wanted
    if not wanted.startswith("/") or wanted.startswith("//") or not plain:
        return "/account"
    parts = urlsplit(wanted)
    return "/account" if parts.scheme or parts.netloc or parts.path in ("/login", "/logout") else wanted


def see(path: str) -> Response:
    return make_response(redirect(path, 303))


def _after(ending: Ending, path: str) -> Response:
    """On to the next page; while Redis has not heard of an end, a page that says by when it is final."""
    if ending.final_by is None:
        return see(path)
    return make_response(render_template("ending.html", final_by=ending.final_by, path=path), 202)


def _login_again(error: AuthsvcError) -> Response:
    members = errors.problem(error)
    sentence = "Give an email and a password." if isinstance(error, InvalidFields) else members["detail"]
    fields = {"email": request.form.get("email", "")[:320], "next": request.form.get("next", "")[:2048]}
    page = render_template("login.html", error=sentence, remember="remember" in request.form, **fields)
    return make_response(page, members["status"], errors.headers(error))
