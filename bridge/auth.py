"""Who asks, and from which page: the cookie's token, and the rules about origins."""

from collections.abc import Collection

from werkzeug.datastructures import Headers

from authsvc.core.crypto import Keyring, Token, token_of
from authsvc.core.errors import CrossSite, Unauthenticated

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
