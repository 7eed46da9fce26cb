"""Where a client may have a browser sent: to the addresses that it is registered with, and nowhere else."""

import re
from urllib.parse import urlencode, urlsplit

from authsvc.domain.clients import Client

LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::[0-9]{1,5})?(/.*)?")
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]+)?")


def may_redirect(client: Client, uri: str) -> bool:
    """Whether it is one of the client's, character by character. A program on the user's own machine listens on
    whatever port is free, so there the port does not count (RFC 8252, 7.3)."""
    if uri in client.redirect_uris:
        return True
    anywhere = _without_port(uri) if client.public else None
    return anywhere is not None and anywhere in map(_without_port, client.redirect_uris)


def _without_port(uri: str) -> tuple[str, str] | None:
    loopback = LOOPBACK.fullmatch(uri)
    return (loopback[1], loopback[2] or "") if loopback else None


def source(uri: str) -> str:
    """An address as a source of a Content-Security-Policy, for forms that end there; empty if there is no way to say
    it. An address of IPv6 cannot be written there, an application's own scheme stands alone."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return f"{parts.scheme}:"
    origin = f"{parts.scheme}://{parts.netloc.lower()}"
    return origin if ORIGIN.fullmatch(origin) else ""


def with_parameters(uri: str, parameters: list[tuple[str, str]]) -> str:
    """The address with these added to its query, which stays as it is (RFC 6749, 3.1.2)."""
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(parameters)}"
