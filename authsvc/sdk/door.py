"""What both doors of a verifier share: settings, how requests are put to httpx, and what a body may be."""

import time
from typing import Any

import httpx
from httpx_sse import SSEError

from authsvc.core.errors import AuthsvcError, IssuerDown
from authsvc.sdk.issuer import FETCH, MAX_BODY, Issuer, Request
from authsvc.sdk.rules import Metrics, OnStale, Rules

SILENCE = 20.0
BEGIN = 5.0  # seconds from the start for which calls wait for the feed
HEADERS = {"Cache-Control": "no-cache"}  # what is asked for, is asked of the issuer and not of a cache between
UNREACHABLE = (httpx.HTTPError, httpx.InvalidURL)
BROKEN = (*UNREACHABLE, SSEError, AuthsvcError)


class Door:
    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        on_stale: OnStale = "refuse",
        silence: float = SILENCE,
    ) -> None:
        """`on_stale` says what happens while the feed is away, which it is `silence` seconds after its last byte:
        "refuse" raises RevocationsUnknown, "introspect" asks the issuer about each token, a number is for how many
        seconds tokens are accepted nevertheless. Without credentials there is no feed: `on_stale=math.inf`."""
        self.audience = audience
        self._issuer = Issuer(issuer, client_id, client_secret, time.monotonic)
        self._rules = Rules(self._issuer, audience, on_stale, silence)
        self._feed = self._rules.feed
        self._begin_by = 0.0
        self._open()

    def _open(self) -> None:
        raise NotImplementedError

    @property
    def issuer(self) -> str:
        return self._issuer.url

    @property
    def metrics(self) -> Metrics:
        return self._rules.metrics()

    def _arguments(self, request: Request) -> dict[str, Any]:
        if request.form is None:
            return {"method": "GET", "url": request.url, "timeout": request.timeout}
        credentials = self._issuer.credentials
        return {
            "method": "POST", "url": request.url, "timeout": request.timeout, "data": request.form, "auth": credentials
        }  # fmt: skip

    def _feed_arguments(self, url: str, headers: dict[str, str]) -> dict[str, Any]:
        timeout = httpx.Timeout(FETCH, read=self._feed.silence)
        return {"method": "GET", "url": url, "headers": headers, "timeout": timeout}

    def _check_feed(self, response: httpx.Response) -> None:
        if response.status_code in (401, 403):
            self._issuer.forget_token()
        response.raise_for_status()


class Body:
    """Neither too large nor too slow."""

    def __init__(self, timeout: float) -> None:
        self.read = b""
        self._end = time.monotonic() + timeout

    def add(self, chunk: bytes) -> None:
        self.read += chunk
        if len(self.read) > MAX_BODY or time.monotonic() > self._end:
            raise IssuerDown("its answer is too large, or too slow")
