"""Secrets of the installation and the session token made with them.

A token is 66 bytes, 88 characters of base64url without padding: `sid` (16), `secret` (32), tag (18). Every string of
88 characters decodes to other bytes, so there is one spelling of a token. Only sha256(secret) is ever stored.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterator
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
SID_BYTES, SECRET_BYTES, TAG_BYTES = 16, 32, 18
ALPHABET = bytes.maketrans(b"-_+/", b"+/!!")
SESSION_TOKEN = "session token"  # noqa: S105 - a purpose
TOKEN_CHARS = (SID_BYTES + SECRET_BYTES + TAG_BYTES) * 4 // 3


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64url(text: str) -> bytes | None:
    """What was written so; None for anything else, the other alphabet of base64 included."""
    try:
        return base64.b64decode(text.encode("ascii").translate(ALPHABET), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None


def new_id() -> str:
    """A public id: 128 random bits as 22 characters."""
    return b64url(secrets.token_bytes(SID_BYTES))


def equal(a: bytes, b: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(a, b)


class Keyring:
    """The installation's secrets, newest first: the first makes tags, all are accepted, so one can be changed
    without logging anyone out. Each purpose has a key of its own."""

    def __init__(self, secret_keys: tuple[bytes, ...]) -> None:
        if not secret_keys:
            raise ValueError("a keyring needs at least one secret")
        self._secret_keys = secret_keys
        self._derived: dict[str, tuple[hmac.HMAC, ...]] = {}

    def tag(self, purpose: str, message: bytes) -> bytes:
        return self._tag(self._keys(purpose)[0], message)

    def accepts(self, purpose: str, message: bytes, tag: bytes) -> bool:
        return any(equal(self._tag(key, message), tag) for key in self._keys(purpose))

    def seal(self, purpose: str, message: bytes) -> bytes:
        """Encrypted and authenticated, to lie at rest (AES-256-GCM). The message is bound to its purpose."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self._sealing_key(self._secret_keys[0], purpose)).encrypt(nonce, message, None)

    def unseal(self, purpose: str, sealed: bytes) -> bytes | None:
        """What was sealed with one of the secrets for this purpose; None for anything else."""
        for secret in self._secret_keys:
            try:
                cipher = AESGCM(self._sealing_key(secret, purpose))
                return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
            except (InvalidTag, ValueError):  # another secret's, or no sealed text at all
                continue
        return None

    def each(self) -> Iterator["Keyring"]:
        """A keyring for each secret alone: what was made with an older one can be made again."""
        return (Keyring((key,)) for key in self._secret_keys)

    def _keys(self, purpose: str) -> tuple[hmac.HMAC, ...]:
        if purpose not in self._derived:
            keys = (hmac.digest(key, b"authsvc " + purpose.encode(), "sha256") for key in self._secret_keys)
            self._derived[purpose] = tuple(hmac.new(key, digestmod="sha256") for key in keys)
        return self._derived[purpose]

    @staticmethod
    def _sealing_key(secret: bytes, purpose: str) -> bytes:
        return hmac.digest(secret, b"authsvc seal " + purpose.encode(), "sha256")

    @staticmethod
    def _tag(key: hmac.HMAC, message: bytes) -> bytes:
        """Not by `hmac.digest`, which lets go of the interpreter: with many threads that costs ten times the digest."""
        made = key.copy()
        made.update(message)
        return made.digest()[:TAG_BYTES]


class Token(NamedTuple):
    """What a session cookie carries. `sid` is public, `secret` is not."""

    sid: str
    secret: bytes

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.secret).digest()


def new_token(sid: str | None = None) -> Token:
    """A token for a new session, or with `sid` the next token of that session (rotation)."""
    return Token(sid or new_id(), secrets.token_bytes(SECRET_BYTES))


def write_token(keyring: Keyring, token: Token, purpose: str = SESSION_TOKEN) -> str:
    body = base64.urlsafe_b64decode(token.sid + "==") + token.secret
    return b64url(body + keyring.tag(purpose, body))


def read_token(keyring: Keyring, value: str, purpose: str = SESSION_TOKEN) -> Token | None:
    """The token in a cookie's value, or None if we did not make it for this purpose. Looks nothing up."""
    raw = unb64url(value) if len(value) == TOKEN_CHARS else None
    if raw is None:
        return None
    body, tag = raw[:-TAG_BYTES], raw[-TAG_BYTES:]
    if not keyring.accepts(purpose, body, tag):
        return None
    return Token(b64url(body[:SID_BYTES]), body[SID_BYTES:])


def cookie_values(header: str, name: str) -> list[str]:
    """Every value that a Cookie header gives a name (RFC 6265, 4.2.1), as it stands: our cookies need no quotes.
    More than one, and somebody has planted a cookie."""
    pairs = (pair.partition("=") for pair in header.split(";"))
    return [value.strip() for found, _, value in pairs if found.strip() == name]


def token_of(keyring: Keyring, header: str, name: str) -> Token | None:
    """The token in a Cookie header; None without one that we made, and None if there are two."""
    values = cookie_values(header, name)
    return read_token(keyring, values[0]) if len(values) == 1 else None


def known_device(keyring: Keyring, user_id: str, cookie: str) -> bool:
    """Whether this browser has logged in as that user before (`device_cookie` was set then)."""
    tag = unb64url(cookie)
    return tag is not None and keyring.accepts("known device", user_id.encode(), tag)


def device_cookie(keyring: Keyring, user_id: str) -> str:
    return b64url(keyring.tag("known device", user_id.encode()))


def pseudonym(keyring: Keyring, text: str) -> str:
    """A stable stand-in for a text that must not be stored as typed (people type passwords into the email field)."""
    return b64url(keyring.tag("pseudonym", text.encode("utf-8", "surrogatepass")))
