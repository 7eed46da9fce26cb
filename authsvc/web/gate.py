"""Forward-auth: a proxy asks for every request whether to let it through (nginx `auth_request`, Caddy `forward_auth`).

The request that happens most often pays for no framework: this stands in front of Flask and answers by itself. Any
doubt refuses: 401, 403 or 503, and never 2xx. See deploy/README.md.

A request with `Authorization: Bearer` is judged by that alone, whatever cookie it carries; other schemes are the
application's own.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from authsvc.core.crypto import token_of
from authsvc.core.errors import (
    AuthsvcError,
    Forbidden,
    InsufficientAuthentication,
    InsufficientScope,
    StepUpRequired,
    TokenRefused,
    Unauthenticated,
    Unavailable,
)  # fmt: skip
from authsvc.core.scopes import FORWARD_AUTH
from authsvc.core.session import Session
from authsvc.domain.bearers import Bearer, token_in
from authsvc.services import Services
from authsvc.web.errors import STATUS, headers, problem
from authsvc.web.paths import is_ours

PATH = "/forward-auth"
PHRASES = {302: "302 Found", 401: "401 Unauthorized", 403: "403 Forbidden", 503: "503 Service Unavailable"}
PERSONAL = [("Cache-Control", "no-store"), ("Vary", "Cookie")]
LONGEST_URI = 2048
NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)

log = logging.getLogger(__name__)
Environ = dict[str, Any]
Start = Callable[..., Any]
Headers = list[tuple[str, str]]


class Gate:
    def __init__(self, app: Callable[[Environ, Start], Iterable[bytes]], services: Services) -> None:
        self._app = app
        self._services = services
        self._host = urlsplit(services.settings.public_url).netloc

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path != PATH and not path.startswith(PATH + "/"):
            return self._app(environ, start)
        environ["authsvc.route"] = PATH
        try:
            caller = self._check(environ)
        except AuthsvcError as error:
            return self._refuse(error, environ, start)
        except Exception:
            log.exception("forward-auth failed")
            return self._refuse(Unavailable(), environ, start)
        start("200 OK", [*identity(caller), *PERSONAL, ("Content-Length", "0")])
        return []

    def _check(self, environ: Environ) -> Session | Bearer:
        """Whose request it is. Raises Unauthenticated, TokenRefused, Forbidden, InsufficientScope, StepUpRequired,
        InsufficientAuthentication or Unavailable."""
        authorization = environ.get("HTTP_AUTHORIZATION")
        bearer = token_in(authorization) if authorization else None
        caller = self._of_cookie(environ) if bearer is None else self._of_bearer(bearer)
        wanted = demands(environ.get("QUERY_STRING", ""))
        if "role" in wanted and wanted["role"] not in caller.roles:
            raise Forbidden
        if "max_age" in wanted:
            self._check_age(caller, int(wanted["max_age"]))
        return caller

    def _of_cookie(self, environ: Environ) -> Session:
        parts = self._services
        token = token_of(parts.keyring, environ.get("HTTP_COOKIE", ""), parts.settings.cookie_name)
        session = parts.sessions.load(token) if token else None
        if session is None:
            raise Unauthenticated
        return session

    def _of_bearer(self, token: str) -> Bearer:
        """A person's token for us, that of their session or one that they let be used so."""
        parts = self._services
        bearer = parts.bearers.check(token)
        if parts.settings.public_url not in bearer.audiences:
            raise TokenRefused("audience")
        if not bearer.user:
            raise Forbidden
        if bearer.kind != "session" and FORWARD_AUTH not in bearer.scopes:
            raise InsufficientScope(FORWARD_AUTH)
        return bearer

    def _check_age(self, caller: Session | Bearer, max_age: int) -> None:
        """An API key comes from no login, however recent."""
        since = caller.authenticated
        if since is None or self._services.store.clock() - since > max_age:
            raise InsufficientAuthentication(max_age) if isinstance(caller, Bearer) else StepUpRequired

    def _refuse(self, error: AuthsvcError, environ: Environ, start: Start) -> Iterable[bytes]:
        status = STATUS[type(error)]
        body = json.dumps(problem(error)).encode()
        told = [*headers(error).items(), *PERSONAL, ("Content-Type", "application/problem+json")]
        if isinstance(error, (Unauthenticated, StepUpRequired)):
            told.append(("Location", self._login(environ, again=isinstance(error, StepUpRequired))))
            if asks_for_a_page(environ):
                status = 302
        start(PHRASES[status], [*told, ("Content-Length", str(len(body)))])
        return [body]

    def _login(self, environ: Environ, *, again: bool) -> str:
        """The page where it is proved who asks, and which leads back. A session's cookie belongs to one host: a page of
        another could not be let in, and is not led back to."""
        host = environ.get("HTTP_X_FORWARDED_HOST", self._host)
        uri = environ.get("HTTP_X_FORWARDED_URI") or environ.get("HTTP_X_ORIGINAL_URI", "")
        known = host == self._host and len(uri) <= LONGEST_URI and is_ours(uri)
        query = "&".join(["reauth=1"] * again + [f"next={quote(uri, safe='/')}"] * known)
        at = "" if host == self._host else self._services.settings.public_url
        return f"{at}/login{'?' * bool(query)}{query}"


def demands(query: str) -> dict[str, str]:
    """What the proxy's own route asks for. Anything else is passed over: some proxies append the query of the request.
    Raises Unavailable for a demand that is not clear."""
    if not query:
        return {}
    pairs = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name in ("role", "max_age")]
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unavailable("Forward-auth takes `role` and `max_age` once each.")
    if not NUMBER.fullmatch(found.get("max_age", "0")):
        raise Unavailable("`max_age` is a number of seconds.")
    return found


def identity(caller: Session | Bearer) -> Headers:
    """Who it is, for the application behind the proxy; UTF-8 and percent-encoded, so that no name can be a header. All
    of them are always there: a header that is missing here is one that a client might have sent."""
    return [
        ("X-Auth-User", caller.user),
        ("X-Auth-Email", _quoted(caller.email, "@")),
        ("X-Auth-Name", _quoted(caller.name, "")),
        ("X-Auth-Roles", ",".join(caller.roles)),
        ("X-Auth-Session", caller.sid),
        ("X-Auth-Amr", ",".join(caller.amr)),
    ]


@lru_cache(4096)
def _quoted(text: str, safe: str) -> str:
    return quote(text, safe=safe)


def asks_for_a_page(environ: Environ) -> bool:
    """A person in a browser, behind a proxy that hands a redirect on (nginx makes a 500 of it)."""
    if "HTTP_X_FORWARDED_URI" not in environ:
        return False
    method = environ.get("HTTP_X_FORWARDED_METHOD", environ["REQUEST_METHOD"])
    return method in ("GET", "HEAD") and "text/html" in environ.get("HTTP_ACCEPT", "")
