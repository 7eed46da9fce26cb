"""Who asks, and from which page: the cookie's token, an access token, and the rules about origins."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from werkzeug.datastructures import Headers

from authsvc.core import jwt
from authsvc.core.crypto import Keyring, Token, token_of
from authsvc.core.errors import CrossSite, InsufficientScope, TokenRefused, Unauthenticated
from authsvc.core.jwk import PublicKey
from authsvc.core.store import Clock

OWN_SITE = (None, "same-origin", "none")  # Sec-Fetch-Site of a program, of our pages, of the address bar


def required_token(headers: Headers, keyring: Keyring, cookie_name: str) -> Token:
    """The token in the request's cookie. Raises Unauthenticated. Looks nothing up."""
    token = token_of(keyring, "; ".join(headers.getlist("Cookie")), cookie_name)
    if token is None:
        raise Unauthenticated
    return token


def check_socket_origin(headers: Headers, origins: Collection[str]) -> None:
    """A page of any site may open a socket, and browsers send our cookie along (RFC 6455, 10.2): so the origin must
    be there and be one of ours, character by character. Raises CrossSite."""
    sent = headers.getlist("Origin")
    if len(sent) != 1 or sent[0] not in origins:
        raise CrossSite


def check_stream_origin(headers: Headers, origins: Collection[str]) -> None:
    """A stream of another origin carries an `Origin`, which must be one of ours; without one the request must not come
    from another site (an image, say, which could not read it, but would hold it open). Raises CrossSite."""
    sent, site = headers.getlist("Origin"), headers.get("Sec-Fetch-Site")
    allowed = sent[0] in origins and site != "cross-site" if len(sent) == 1 else not sent and site in OWN_SITE
    if not allowed:
        raise CrossSite


class Bearers:
    """Who comes with an access token for the issuer itself. `keys` finds our public keys, or raises StorageDown."""

    def __init__(self, keys: Callable[[], Awaitable[Mapping[str, PublicKey]]], issuer: str, clock: Clock) -> None:
        self._keys = keys
        self._issuer = issuer
        self._clock = clock

    async def claims(self, headers: Headers, scope: str) -> dict[str, Any]:
        """Those of the token in the `Authorization` header (RFC 6750, 2.1), and in no other place. Raises
        Unauthenticated, TokenRefused, InsufficientScope or StorageDown."""
        token, keys = _bearer(headers), await self._keys()
        claims = jwt.verify(
            token, keys, typ=jwt.ACCESS_TOKEN, issuer=self._issuer, audience=self._issuer, now=self._clock()
        )
        if scope not in claims["scope"].split(" "):
            raise InsufficientScope(scope)
        return claims


def _bearer(headers: Headers) -> str:
    sent = headers.getlist("Authorization")
    if not sent:
        raise Unauthenticated
    kind, _, token = sent[0].partition(" ")
    if len(sent) > 1 or kind.lower() != "bearer":
        raise TokenRefused("malformed")
    return token
