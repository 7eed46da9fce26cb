"""Shapes of answers, also those that several views share. openapi.py describes them from here."""

from typing import Literal, NotRequired

from flask import Response, jsonify
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from authsvc.core import session as rules
from authsvc.core.session import Session
from authsvc.core.times import rfc3339
from authsvc.domain.api_keys import ApiKey
from authsvc.domain.jobs import State
from authsvc.domain.sessions import Ending, Listed


class UserInfo(TypedDict):
    id: str
    email: str
    name: str
    roles: list[str]


class SessionInfo(TypedDict):
    sid: str
    created: str
    expires: str
    idle_expires: str
    authenticated: str
    amr: list[str]
    device: str


class Whoami(TypedDict):
    user: UserInfo
    session: SessionInfo


class ListedSession(TypedDict):
    sid: str
    current: bool
    created: str
    seen: str
    ip: str
    device: str


class SessionList(TypedDict):
    sessions: list[ListedSession]


class MailSent(TypedDict):
    """A mail is on its way, if there is anybody to send it to. `flow` takes the code of that mail."""

    status: Literal["verification_sent", "reset_sent"]
    flow: str


class TaskStarted(TypedDict):
    task: str


class Task(TypedDict):
    """`result` is where to fetch what the task has made; `error` says why it failed."""

    task: str
    state: State
    progress: int
    result: NotRequired[str]
    error: NotRequired[str]


class ResetAllowed(TypedDict):
    """The token resets the password; as long as the session's end is not final, `final_by` says when it will be."""

    token: str
    final_by: NotRequired[str]


class Problem(TypedDict):
    code: str
    sentence: str


class StrengthInfo(TypedDict):
    """`score` from 0, guessed at once, to 4. Without `acceptable` it would be refused; otherwise `problems` advise."""

    score: int
    acceptable: bool
    problems: list[Problem]


class AccessToken(TypedDict):
    """As in RFC 6749, 5.1; `expires_in` in seconds, `scope` what was granted."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    scope: str


class ApiKeyInfo(TypedDict):
    """`used`: when it was last shown, to the minute."""

    id: str
    name: str
    scopes: list[str]
    created: str
    expires: str | None
    used: str | None


class NewApiKey(ApiKeyInfo):
    """`key` is shown this once."""

    key: str


class ApiKeyList(TypedDict):
    keys: list[ApiKeyInfo]


class Ended(TypedDict):
    ended: int


class EndingSoon(TypedDict):
    """Committed, and not yet known to Redis: ended everywhere by `final_by` at the latest."""

    status: Literal["ending"]
    final_by: str
    ended: NotRequired[int]


def whoami(session: Session) -> Whoami:
    return {
        "user": {"id": session.user, "email": session.email, "name": session.name, "roles": list(session.roles)},
        "session": {
            "sid": session.sid,
            "created": rfc3339(session.created),
            "expires": rfc3339(rules.expires(session)),
            "idle_expires": rfc3339(rules.idle_expires(session)),
            "authenticated": rfc3339(session.authenticated),
            "amr": list(session.amr),
            "device": session.device,
        },
    }


def listed(session: Listed, own: Session) -> ListedSession:
    return {
        "sid": session.sid,
        "current": session.sid == own.sid,
        "created": rfc3339(session.created),
        "seen": rfc3339(session.seen),
        "ip": session.ip,
        "device": session.device,
    }


def api_key(key: ApiKey) -> ApiKeyInfo:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created": rfc3339(key.created),
        "expires": rfc3339(key.expires) if key.expires else None,
        "used": rfc3339(key.used) if key.used else None,
    }


def ended(ending: Ending, body: Ended | None = None) -> Response:
    """204, or 200 with a body; 202 while Redis has not heard of the end."""
    if ending.final_by is not None:
        soon: EndingSoon = {"status": "ending", "final_by": rfc3339(ending.final_by), **(body or {})}  # type: ignore[typeddict-item]  # the keys of Ended
        response = jsonify(soon)
        response.status_code = 202
        return response
    return jsonify(body) if body else Response(status=204)
