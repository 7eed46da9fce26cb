"""The session of the caller and the list of all their sessions."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, request

from authsvc.core.errors import FieldError, InvalidFields
from authsvc.core.session import Session
from authsvc.domain.sessions import Ending, Listed
from authsvc.web.answers import ended, rfc3339, whoami
from authsvc.web.guards import cookie_session, required, services

blueprint = Blueprint("sessions", __name__, url_prefix="/api")


@blueprint.get("/session")
def show() -> dict[str, Any]:
    return whoami(required())


@blueprint.get("/sessions")
def index() -> dict[str, Any]:
    own = required()
    return {"sessions": [_as_json(listed, own) for listed in services().sessions.of_user(own.user)]}


@blueprint.delete("/sessions/<sid>")
def end(sid: str) -> Response:
    return ended(end_one(sid))


@blueprint.delete("/sessions")
def end_others() -> Response:
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


def _as_json(listed: Listed, own: Session) -> dict[str, Any]:
    times = {"created": rfc3339(listed.created), "seen": rfc3339(listed.seen)}
    return {**asdict(listed), **times, "current": listed.sid == own.sid}


def _flag(name: str) -> bool:
    values = request.args.getlist(name)
    if values not in ([], ["true"], ["false"]):
        raise InvalidFields(FieldError(name, "boolean", "Give true or false, once."))
    return values == ["true"]
