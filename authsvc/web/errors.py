"""Errors as answers: RFC 9457 problems for programs, the same sentence on a page for people."""

import json
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, render_template, request
from werkzeug.exceptions import HTTPException

from authsvc.core import errors
from authsvc.core.errors import (
    AuthsvcError,
    InsufficientAuthentication,
    InsufficientScope,
    InvalidFields,
    RetryLater,
    TokenRefused,
)  # fmt: skip

STATUS: dict[type[AuthsvcError], int] = {
    errors.BadRequest: 400,
    errors.InvalidFields: 422,
    errors.Unauthenticated: 401,
    errors.InvalidCredentials: 401,
    errors.TokenInvalid: 400,
    errors.ClientRefused: 400,
    errors.GrantRefused: 400,
    errors.ScopeRefused: 400,
    errors.Irrevocable: 400,
    errors.TokenRefused: 401,
    errors.InsufficientAuthentication: 401,
    errors.InsufficientScope: 403,
    errors.EmailUnverified: 403,
    errors.StepUpRequired: 403,
    errors.Forbidden: 403,
    errors.CrossSite: 403,
    errors.NotFound: 404,
    errors.TooMany: 409,
    errors.EmailTaken: 409,
    errors.RetryLater: 503,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
    errors.StorageDown: 503,
    errors.RedisDown: 503,
    errors.Busy: 503,
    errors.IssuerDown: 503,
    errors.KeysRefused: 503,
    errors.RevocationsUnknown: 503,
    errors.Misconfigured: 500,
}
HTTP_CODES = {
    400: ("bad_request", "The request could not be understood."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This address does not take that method."),
    413: ("body_too_large", "The body is larger than 64 KiB."),
    415: ("unsupported_media_type", "The body must be JSON, sent as application/json."),
}
LOGIN_METHODS = ["password"]
OF_TOKENS = (TokenRefused, InsufficientScope, InsufficientAuthentication)


def install(app: Flask) -> None:
    app.register_error_handler(AuthsvcError, _answer)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_bug)


def problem(error: AuthsvcError) -> dict[str, Any]:
    """The RFC 9457 members of an error."""
    status = STATUS[type(error)]
    body = _members(status, error.code, error.detail)
    if isinstance(error, InvalidFields):
        body["errors"] = [field._asdict() for field in error.errors]
    if isinstance(error, errors.EmailUnverified):
        body["flow"] = error.flow
    by_login = status == HTTPStatus.UNAUTHORIZED and not isinstance(error, OF_TOKENS)
    if by_login or isinstance(error, errors.StepUpRequired):
        body["methods"] = LOGIN_METHODS
    return body


def headers(error: AuthsvcError) -> dict[str, str]:
    if isinstance(error, RetryLater):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, OF_TOKENS):
        return {"WWW-Authenticate": challenge(error)}
    if STATUS[type(error)] == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": 'Session realm="authsvc"'}
    return {}


def challenge(error: TokenRefused | InsufficientScope | InsufficientAuthentication) -> str:
    """What a bearer token lacks (RFC 6750, 3; RFC 9470, 3)."""
    told = f'Bearer realm="authsvc", error="{error.code}"'
    if isinstance(error, InsufficientScope):
        return f'{told}, scope="{error.scope}"'
    return f'{told}, max_age="{error.max_age}"' if isinstance(error, InsufficientAuthentication) else told


def turn_into(response: Response, error: AuthsvcError) -> None:
    """Make an answer that was almost sent say that it failed."""
    failed = _answer(error)
    response.status_code = failed.status_code
    response.set_data(failed.get_data())
    response.headers.update(failed.headers)
    response.headers.remove("Location")
    response.headers.remove("Set-Cookie")


def _answer(error: AuthsvcError) -> Response:
    if error.__cause__ and isinstance(error, errors.Unavailable):
        reason = str(error.__cause__).partition("\n")[0]
        current_app.logger.warning("%s %s: %s (%s)", request.method, request.url_rule, error.detail, reason)
    response = _as_asked(problem(error), error.retry_after if isinstance(error, RetryLater) else None)
    response.headers.update(headers(error))
    return response


def _answer_http(error: HTTPException) -> Response:
    status = error.code or 500
    phrase = HTTPStatus(status).phrase
    code, sentence = HTTP_CODES.get(status, (phrase.lower().replace(" ", "_"), f"{phrase}."))
    response = _as_asked(_members(status, code, sentence))
    response.headers.update({key: value for key, value in error.get_headers() if key in ("Allow", "Retry-After")})
    return response


def _answer_bug(error: Exception) -> Response:
    current_app.logger.error("%s %s failed", request.method, request.url_rule, exc_info=error)
    return _as_asked(_members(500, "internal_error", "Something went wrong on our side."))


def _members(status: int, code: str, detail: str) -> dict[str, Any]:
    title = HTTPStatus(status).phrase
    return {"type": f"/errors/{code}", "title": title, "status": status, "code": code, "detail": detail}


def _as_asked(members: dict[str, Any], retry_after: int | None = None) -> Response:
    """As a problem under /api and for whoever asks for JSON, as a page for browsers elsewhere. `retry_after` in s."""
    if request.path.startswith("/api/") or request.accept_mimetypes.best == "application/json":
        body, mimetype = json.dumps(members) + "\n", "application/problem+json"
    else:
        body, mimetype = render_template("error.html", problem=members, retry_after=retry_after), "text/html"
    response = Response(body, members["status"], mimetype=mimetype)
    response.headers["Cache-Control"] = "no-store"
    return response
