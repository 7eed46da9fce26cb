"""Who a client is (RFC 6749, 2.3): client_secret_basic, client_secret_post, or none for a public one.

Read here and not by Authlib, which tries one method after another where we want exactly one.
"""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote_plus

from authlib.oauth2.rfc6749.errors import InvalidClientError

from authsvc.domain.clients import Client, Clients

METHODS = ("client_secret_basic", "client_secret_post", "none")


def authenticated(clients: Clients, authorization: str, fields: Mapping[str, str]) -> Client:
    """The client behind an `Authorization` header (empty if there is none) and the fields of a form. Raises
    InvalidClientError for one that is not known, does not prove it, or does so in two ways at once."""
    client_id, secret = fields.get("client_id", ""), fields.get("client_secret")
    if authorization:
        named, given = _basic(authorization)
        if secret is not None or client_id not in ("", named):
            raise InvalidClientError("Prove who you are in one way.", status_code=401)
        client_id, secret = named, given
    client = clients.find(client_id) if secret is None else clients.authenticate(client_id, secret)
    if client is None or client.public != (secret is None):
        raise InvalidClientError("The client is not known, or its secret is wrong.", status_code=401)
    return client


def _basic(authorization: str) -> tuple[str, str]:
    """Id and secret, which are form-encoded before they are joined (RFC 6749, 2.3.1)."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        decoded = ""
    client_id, colon, secret = decoded.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise InvalidClientError("The Authorization header is not that of a client.", status_code=401)
    return unquote_plus(client_id), unquote_plus(secret)
