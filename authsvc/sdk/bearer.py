"""Bearer tokens in requests, and refusals in answers (RFC 6750, 9470, 9457), for any framework."""

import json
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl

from authsvc.core.errors import (
    AuthsvcError,
    BadRequest,
    Forbidden,
    InsufficientAuthentication,
    InsufficientScope,
    RetryLater,
    TokenRefused,
    Unauthenticated,
    Unavailable,
)

STATUS: dict[type[AuthsvcError], int] = {
    BadRequest: 400,
    Unauthenticated: 401,
    TokenRefused: 401,
    InsufficientAuthentication: 401,
    InsufficientScope: 403,
    Forbidden: 403,
    Unavailable: 503,
}
CODES = {BadRequest: "invalid_request", Forbidden: None, Unauthenticated: None}  # of RFC 6750, 3.1, else our own
SCHEME = re.compile(r"bearer +(.*)", re.IGNORECASE)
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


def token_of(authorizations: Sequence[str], query: str) -> str:
    """The token of a request, from all its Authorization headers and its query. Raises Unauthenticated if there is
    none, BadRequest if there is more than one way to read it: a token has no place in an address (RFC 9700, 4.3.2)."""
    if len(authorizations) > 1 or any(name == "access_token" for name, _ in parse_qsl(query, keep_blank_values=True)):
        raise BadRequest
    found = SCHEME.fullmatch(authorizations[0]) if authorizations else None
    if not found:
        raise Unauthenticated
    if not TOKEN.fullmatch(found[1]):
        raise TokenRefused("malformed")
    return found[1]


def refusal(error: AuthsvcError, issuer: str, audience: str) -> Answer:
    """The answer to a request that was refused. Of what went wrong on our side it tells nothing."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    if isinstance(error, RetryLater):
        headers["Retry-After"] = str(error.retry_after)
    elif not isinstance(error, Forbidden):
        headers["WWW-Authenticate"] = challenge(error, audience)
    problem = {
        "type": f"{issuer}/errors/{error.code}", "title": HTTPStatus(status).phrase, "status": status,
        "code": error.code, "detail": error.sentence,
    }  # fmt: skip
    return Answer(status, headers, json.dumps(problem) + "\n")


def challenge(error: AuthsvcError, audience: str) -> str:
    """The WWW-Authenticate header; it names no error to who brought no token (RFC 6750, 3)."""
    parts = {"realm": audience}
    code = CODES.get(type(error), error.code)
    if code:
        parts |= {"error": code, "error_description": error.sentence}
    if isinstance(error, InsufficientScope):
        parts["scope"] = error.scope
    if isinstance(error, InsufficientAuthentication):
        parts["max_age"] = str(error.max_age)
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parts.items())
