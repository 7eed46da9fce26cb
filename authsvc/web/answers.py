"""Shapes that several answers share."""

import time
from typing import Any

from flask import Response, jsonify

from authsvc.core.session import Session, expires, idle_expires
from authsvc.domain.sessions import Ending


def rfc3339(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def whoami(session: Session) -> dict[str, Any]:
    return {
        "user": {
            "id": session.user,
            "email": session.email,
            "name": session.name,
            "roles": session.roles,
        },
        "session": {
            "sid": session.sid,
            "created": rfc3339(session.created),
            "expires": rfc3339(expires(session)),
            "idle_expires": rfc3339(idle_expires(session)),
            "authenticated": rfc3339(session.authenticated),
            "amr": session.amr,
            "device": session.device,
        },
    }


def ended(ending: Ending, body: dict[str, Any] | None = None) -> Response:
    """204, or 200 with a body; 202 while Redis has not heard of the end."""
    if ending.final_by is not None:
        response = jsonify({"status": "ending", "final_by": rfc3339(ending.final_by), **(body or {})})
        response.status_code = 202
        return response
    return jsonify(body) if body else Response(status=204)
