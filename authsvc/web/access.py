"""Around the whole application: each request has an id, is counted, and has a line in the log.

The line names the pattern of the path, never the path or the query: these may hold what a mail's link opens.
"""

import logging
from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any

from authsvc.core import metrics, request_ids

KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNKNOWN = "other"  # whatever a stranger makes up
# What machines and pages ask for all the time has a line only at level `debug`, unless it failed.
QUIET = frozenset(
    {"/forward-auth", "/oauth/introspect", "/api/session", "/healthz", "/readyz", "/static/<path:filename>"}
)

log = logging.getLogger(__name__)
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]


class Observed:
    """`behind_proxy`: the request's id may come from the proxy in front of us."""

    def __init__(self, app: Wsgi, *, behind_proxy: bool) -> None:
        self._app = app
        self._behind_proxy = behind_proxy

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        began = perf_counter()
        request_id = request_ids.begin(environ.get("HTTP_X_REQUEST_ID") if self._behind_proxy else None)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            note(environ, status[:3], perf_counter() - began)
            return start_response(status, [*headers, (request_ids.HEADER, request_id)], exc_info)

        return self._app(environ, start)


def note(environ: dict[str, Any], status: str, seconds: float) -> None:
    method, route = environ["REQUEST_METHOD"], _route(environ)
    if method not in KNOWN_METHODS:
        method = UNKNOWN
    _child(method, route, status).observe(seconds)
    level = logging.DEBUG if route in QUIET and status < "500" else logging.INFO
    if log.isEnabledFor(level):
        fields = {"method": method, "route": route, "status": int(status), "ms": round(seconds * 1000, 1)}
        log.log(level, "answered", extra=fields)


@cache
def _child(method: str, route: str, status: str) -> Any:
    return metrics.REQUESTS.labels(method, route, status)


def _route(environ: dict[str, Any]) -> str:
    """The pattern of the path. Werkzeug leaves its request in the environment, and there the rule that has matched."""
    if gate := environ.get("authsvc.route"):
        return str(gate)
    request = environ.get("werkzeug.request")
    rule = request.url_rule if request is not None else None
    return rule.rule if rule is not None else UNKNOWN
