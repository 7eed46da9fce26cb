"""Logging in and out, for programs."""

from flask import Blueprint, Response, jsonify

from authsvc.core.session import Session
from authsvc.domain.sessions import Ending
from authsvc.web.answers import ended, whoami
from authsvc.web.body import LoginBody, json_body
from authsvc.web.guards import caller, cookie_session, services

blueprint = Blueprint("login", __name__, url_prefix="/api")


@blueprint.post("/login")
def login() -> Response:
    """Log in with email and password; the answer carries the session's cookie."""
    return jsonify(whoami(log_in(json_body(LoginBody))))


@blueprint.post("/logout")
def logout() -> Response:
    """End the session of the cookie. 204 also when nobody is logged in."""
    return ended(log_out())


def log_in(body: LoginBody) -> Session:
    """Log the browser in. Raises InvalidCredentials, RateLimited, Busy or StorageDown."""
    session, token = services().login.with_password(body.email, body.password, remember=body.remember, caller=caller())
    cookie_session().begin(session, token, remember=body.remember)
    return session


def log_out() -> Ending:
    """End the session of the browser's token, also one that has ended already: see domain/sessions.py."""
    browser = cookie_session()
    ending = services().sessions.logout(browser.token) if browser.token else Ending()
    browser.forget()
    return ending
