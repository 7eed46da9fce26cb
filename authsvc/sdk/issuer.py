"""What is asked of the issuer over HTTP: its addresses, its keys, a token for ourselves, introspection. No I/O in here:
an operation is a generator that yields a request and is sent the response, so it runs through both doors."""

import json
import math
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote_plus, urlsplit

from authsvc.core.errors import IssuerDown

FETCH = 3.0  # seconds for one request
INTROSPECTION = 1.0
ADDRESSES_FOR = 3600.0  # seconds
MAX_BODY = 262_144  # bytes of a response
EARLY = 30.0  # seconds before its end that our own token is made anew
LOOPBACK = ("127.0.0.1", "localhost", "::1")

T = TypeVar("T")


class Request(NamedTuple):
    url: str
    timeout: float
    form: Mapping[str, str] | None = None  # posted with our credentials; None: a GET without


class Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


Asking = Generator[Request, Response, T]


class Addresses(NamedTuple):
    """From RFC 8414, 2; `feed` is ours."""

    keys: str
    token: str
    introspection: str
    feed: str


class Issuer:
    def __init__(self, url: str, client_id: str | None, client_secret: str | None, ticks: Callable[[], float]) -> None:
        parts = urlsplit(url)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        if not safe or url != f"{parts.scheme}://{parts.netloc}":
            raise ValueError("an issuer is https://host[:port] and nothing more (http on loopback)")
        if (client_id is None) != (client_secret is None):
            raise ValueError("client_id and client_secret go together")
        self.url = url
        self.credentials = (quote_plus(client_id), quote_plus(client_secret)) if client_id and client_secret else None
        self._ticks = ticks
        self._addresses: Addresses | None = None
        self._addresses_until = self._token_until = -math.inf
        self._token = ""

    def addresses(self) -> Asking[Addresses]:
        """By the document of RFC 8414, which must name the issuer exactly, and addresses of the issuer's own."""
        if self._addresses is None or self._ticks() >= self._addresses_until:
            found = yield from self._document(Request(f"{self.url}/.well-known/oauth-authorization-server", FETCH))
            if found.get("issuer") != self.url:
                raise IssuerDown(f"{self.url} does not call itself that")
            feed = found.get("revocation_feed_endpoint", f"{self.url}/revocations")
            self._addresses = Addresses(
                keys=self._own(found.get("jwks_uri")),
                token=self._own(found.get("token_endpoint")),
                introspection=self._own(found.get("introspection_endpoint")),
                feed=self._own(feed),
            )
            self._addresses_until = self._ticks() + ADDRESSES_FOR
        return self._addresses

    def _own(self, url: object) -> str:
        if not isinstance(url, str) or not url.startswith(f"{self.url}/"):
            raise IssuerDown(f"{self.url} names an address that is not its own, or none")
        return url

    def keys(self) -> Asking[tuple[object, str]]:
        """The JWKS, and the Cache-Control that it came with."""
        addresses = yield from self.addresses()
        response = yield Request(addresses.keys, FETCH)
        return _json(response), response.headers.get("cache-control", "")

    def token(self) -> Asking[str]:
        """An access token of our own for the feed (RFC 6749, 4.4), renewed before it runs out."""
        if self._ticks() >= self._token_until:
            addresses = yield from self.addresses()
            form = {"grant_type": "client_credentials", "scope": "revocations", "audience": self.url}
            answer = yield from self._document(Request(addresses.token, FETCH, form))
            token, life = answer.get("access_token"), answer.get("expires_in")
            if not isinstance(token, str) or not isinstance(life, int):
                raise IssuerDown(f"{addresses.token} gave no token")
            self._token, self._token_until = token, self._ticks() + life - EARLY
        return self._token

    def forget_token(self) -> None:
        self._token_until = -math.inf

    def active(self, token: str) -> Asking[bool]:
        """Introspection (RFC 7662)."""
        addresses = yield from self.addresses()
        form = {"token": token, "token_type_hint": "access_token"}
        answer = yield from self._document(Request(addresses.introspection, INTROSPECTION, form))
        return answer.get("active") is True

    def _document(self, request: Request) -> Asking[dict[str, Any]]:
        document = _json((yield request))
        if not isinstance(document, dict):
            raise IssuerDown(f"{request.url} gave no object")
        return document


def _json(response: Response) -> object:
    if response.status != 200:
        raise IssuerDown(f"the issuer answered {response.status}")
    try:
        document: object = json.loads(response.body)
    except (ValueError, RecursionError) as error:
        raise IssuerDown("the issuer answered something that is not JSON") from error
    return document
