"""How programs are told no: as RFC 6749, 5.2 has it, and RFC 6750, 3 where a bearer token was asked for."""

import json

from authlib.oauth2.rfc6749.errors import InvalidClientError, OAuth2Error
from flask import Response
from werkzeug.exceptions import HTTPException

from authsvc.core.errors import AuthsvcError, RetryLater, Unauthenticated
from authsvc.web.errors import STATUS, headers

NO_STORE = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
BASIC = 'Basic realm="authsvc"'
BEARER = 'Bearer realm="authsvc"'


def by_protocol(error: OAuth2Error) -> Response:
    told = {"WWW-Authenticate": BASIC} if isinstance(error, InvalidClientError) else {}
    return _answer(error.status_code, dict(error.get_body()), told)


def by_us(error: AuthsvcError) -> Response:
    told, code = headers(error), error.code
    if isinstance(error, Unauthenticated):  # no token, no error code (RFC 6750, 3.1)
        return _answer(401, {}, {"WWW-Authenticate": BEARER})
    if isinstance(error, RetryLater):
        code = "temporarily_unavailable"
    return _answer(STATUS[type(error)], {"error": code, "error_description": error.detail}, told)


def by_http(error: HTTPException) -> Response:
    told = {name: value for name, value in error.get_headers() if name == "Allow"}
    return _answer(error.code or 500, {"error": "invalid_request"}, told)


def _answer(status: int, body: dict[str, str], told: dict[str, str]) -> Response:
    answer = Response(json.dumps(body), status, NO_STORE)
    answer.headers.update(told)
    return answer
