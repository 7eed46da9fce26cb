"""The session of the caller and the list of all their sessions."""

from flask import Blueprint, Response, request

from authsvc.core.errors import FieldError, InvalidFields
from authsvc.domain.sessions import Ending
from authsvc.web.answers import SessionList, Whoami, ended, listed, whoami
from authsvc.web.guards import cookie_session, required, services

blueprint = Blueprint("sessions", __name__, url_prefix="/api")


@blueprint.get("/session")
def show() -> Whoami:
    """Who is logged in here."""
    return whoami(required())


@blueprint.get("/sessions")
def index() -> SessionList:
    """The caller's sessions, last used first."""
    own = required()
    return {"sessions": [listed(each, own) for each in services().sessions.of_user(own.user)]}


@blueprint.delete("/sessions/<sid>")
def end(sid: str) -> Response:
    """End one session of the caller."""
    return ended(end_one(sid))


@blueprint.delete("/sessions")
def end_others() -> Response:
    """End all other sessions of the caller, with `all=true` this one too."""
    own, everything = required(), _flag("all")
    if everything:
        ending = services().sessions.end_all(own.user)
        cookie_session().forget()
    else:
        ending = services().sessions.end_others(own.user, keep=own.sid)
    return ended(ending, {"ended": ending.count})


def end_one(sid: str) -> Ending:
    """End a session of the caller. Raises Unauthenticated, NotFound."""
    own = required()
    ending = services().sessions.end(sid, user_id=own.user)
    if sid == own.sid:
        cookie_session().forget()
    return ending


def _flag(name: str) -> bool:
    values = request.args.getlist(name)
    if values not in ([], ["true"], ["false"]):
        raise InvalidFields(FieldError(name, "boolean", "Give true or false, once."))
    return values == ["true"]
