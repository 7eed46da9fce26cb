"""What HTTP answers say and carry: RFC 9457 problems, and the headers that every answer has."""

import json

from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from authsvc.core import request_ids
from authsvc.core.errors import (
    AuthsvcError,
    CrossSite,
    InsufficientScope,
    RateLimited,
    RetryLater,
    TokenRefused,
    Unauthenticated,
    Unavailable,
)
from authsvc.core.settings import Settings

STATUS: dict[type[AuthsvcError], int] = {
    Unauthenticated: 401,
    TokenRefused: 401,
    InsufficientScope: 403,
    CrossSite: 403,
    RateLimited: 429,
    Unavailable: 503,
}
HTTP_CODES = {
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This address does not take that method."),
    500: ("error", AuthsvcError.sentence),
}


def answer(error: AuthsvcError) -> Response:
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    response = _problem(status, error.code, error.detail)
    if isinstance(error, RetryLater):
        response.headers["Retry-After"] = str(error.retry_after)
    if challenge := _challenge(error):
        response.headers["WWW-Authenticate"] = challenge
    return response


def _challenge(error: AuthsvcError) -> str:
    """RFC 6750, 3. Who has shown no token is told of no error."""
    if isinstance(error, InsufficientScope):
        return f'Bearer error="insufficient_scope", scope="{error.scope}"'
    if isinstance(error, TokenRefused):
        return 'Bearer error="invalid_token"'
    return "Bearer" if isinstance(error, Unauthenticated) else ""


async def answer_http(error: HTTPException) -> Response:
    status = error.code or 500
    response = _problem(status, *HTTP_CODES.get(status, ("bad_request", "The request could not be understood.")))
    if allowed := dict(error.get_headers()).get("Allow"):
        response.headers["Allow"] = allowed
    return response


def _problem(status: int, code: str, detail: str) -> Response:
    body = {"type": f"/errors/{code}", "title": detail, "status": status, "detail": detail, "code": code}
    return Response(json.dumps(body), status, content_type="application/problem+json")


def install(app: Quart, settings: Settings) -> None:
    app.register_error_handler(HTTPException, answer_http)

    @app.after_request
    async def add_headers(response: Response) -> Response:
        response.headers[request_ids.HEADER] = request_ids.current()
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Cookie, Origin"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'; sandbox"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if (origin := request.headers.get("Origin")) in settings.trusted_origins:
            _allow(response, origin)
        return response


def _allow(response: Response, origin: str | None) -> None:
    """CORS with credentials for other origins of the same site (Fetch standard, 3.2)."""
    response.headers["Access-Control-Allow-Origin"] = origin or ""
    response.headers["Access-Control-Allow-Credentials"] = "true"
    response.headers["Access-Control-Expose-Headers"] = "Retry-After"
    response.headers["Cross-Origin-Resource-Policy"] = "same-site"
