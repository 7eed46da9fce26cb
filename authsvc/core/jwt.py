"""Signed tokens: what we sign, and what a verifier believes (RFC 7515, 7519, 8725).

joserfc signs and checks. What stands around it is stricter than a library for everybody can be: a token names its key
and brings none along, its algorithm is the one of that key, and each thing has one spelling.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from authsvc.core.crypto import b64url
from authsvc.core.errors import TokenRefused
from authsvc.core.jwk import (
    ALGORITHMS,
    EDDSA,
    ES256,
    MAX_KID,
    RS256,
    PublicKey,
    SigningKey,
    generate,
    jwks,
    load_jwks,
    signing_key,
)

__all__ = [
    "ALGORITHMS",
    "EDDSA",
    "ES256",
    "RS256",
    "Header",
    "PublicKey",
    "SigningKey",
    "check_signature",
    "generate",
    "jwks",
    "kid_of",
    "load_jwks",
    "sign",
    "signing_key",
    "verify",
]

ACCESS_TOKEN = "at+jwt"  # noqa: S105 - RFC 9068, 2.1
SECURITY_EVENT = "secevent+jwt"  # RFC 8417, 2.3
LOGOUT_TOKEN = "logout+jwt"  # noqa: S105 - OpenID Connect Back-Channel Logout 1.0, 2.4

MAX_TOKEN = 8192  # characters
LATEST = 2**40  # unix seconds
SIGNERS = {ES256: JWSRegistry.algorithms[ES256], EDDSA: JWSRegistry.algorithms["Ed25519"],
           RS256: JWSRegistry.algorithms[RS256]}  # fmt: skip
UNTRUSTED = frozenset({"crit", "jku", "jwk", "x5u", "x5c"})  # in a header: extensions, and keys of the token's own
ENCODE = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def sign(key: SigningKey, typ: str, claims: Mapping[str, Any]) -> str:
    """A JWS in compact form (RFC 7515, 7.1) of the claims."""
    signed = f"{_header(key.alg, key.kid, typ)}.{b64url(ENCODE(claims).encode())}"
    return f"{signed}.{b64url(SIGNERS[key.alg].sign(signed.encode(), key.key))}"


@lru_cache(maxsize=64)
def _header(alg: str, kid: str, typ: str) -> str:
    return b64url(ENCODE({"alg": alg, "kid": kid, "typ": typ}).encode())


def verify(
    token: str,
    keys: Mapping[str, PublicKey],
    *,
    typ: str,
    issuer: str,
    audience: str | None,
    now: float,
    leeway: int = 5,
    must_expire: bool = True,
) -> dict[str, Any]:
    """The claims of a token that is signed by one of the keys, of this type, from this issuer, for this audience (None:
    for any), and not expired at `now` (unix seconds; `leeway` in seconds for clocks that differ). Only a security
    event need not expire (RFC 8417, 2.2). Raises TokenRefused."""
    header, payload = check_signature(token, keys)
    if header.typ not in (typ, f"application/{typ}"):
        raise TokenRefused("type")
    claims = _parse(payload)
    if claims.get("iss") != issuer:
        raise TokenRefused("issuer")
    if audience is not None and audience not in _audiences(claims.get("aud")):
        raise TokenRefused("audience")
    _check_times(claims, now, leeway, must_expire)
    return claims


class Header(NamedTuple):
    kid: str
    alg: object
    typ: object


def check_signature(token: str, keys: Mapping[str, PublicKey]) -> tuple[Header, bytes]:
    """Header and payload of a JWS that one of the keys has signed. Nothing is said about what the payload says."""
    segments = token.split(".") if len(token) <= MAX_TOKEN else []
    if len(segments) != 3:
        raise TokenRefused("malformed")
    header, payload, signature = _read_header(segments[0]), _decode(segments[1]), _decode(segments[2])
    key = keys.get(header.kid)
    if key is None:
        raise TokenRefused("unknown_key")
    if header.alg != key.alg:
        raise TokenRefused("algorithm")
    if not SIGNERS[key.alg].verify(token[: -len(segments[2]) - 1].encode(), signature, key.key):
        raise TokenRefused("signature")
    return header, payload


def kid_of(token: str) -> str:
    """The name of the key that a token says it is signed with. Raises TokenRefused."""
    return _read_header(token.partition(".")[0]).kid


@lru_cache(maxsize=64)
def _read_header(segment: str) -> Header:
    """Kept, for the tokens of one key begin alike."""
    if len(segment) > MAX_TOKEN:
        raise TokenRefused("malformed")
    header = _parse(_decode(segment))
    kid = header.get("kid")
    if header.keys() & UNTRUSTED or not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        raise TokenRefused("malformed")
    return Header(kid, header.get("alg"), header.get("typ"))


def _decode(segment: str) -> bytes:
    """base64url in its one spelling: no padding, no spaces, no bits beyond the last byte."""
    try:
        return urlsafe_b64decode(segment.encode("ascii"))
    except ValueError as error:
        raise TokenRefused("malformed") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands twice")
    return members


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


DECODE = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse).raw_decode


def _parse(raw: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 in which no name stands twice (RFC 7515, 4; RFC 8725, 2.4)."""
    try:
        text = raw.decode().strip(" \t\r\n")
        value, end = DECODE(text)
    except (ValueError, RecursionError) as error:
        raise TokenRefused("malformed") from error
    if not isinstance(value, dict) or end < len(text):
        raise TokenRefused("malformed")
    return value


def _audiences(aud: object) -> Iterator[str]:
    """Of a claim that is one string or a list of them (RFC 7519, 4.1.3)."""
    each = aud if isinstance(aud, list) else [aud]
    if not all(isinstance(one, str) for one in each):
        raise TokenRefused("audience")
    return iter(each)


def _check_times(claims: dict[str, Any], now: float, leeway: int, must_expire: bool) -> None:
    """By the NumericDates of RFC 7519, 2."""
    for name in ("exp", "nbf", "iat"):
        value = claims.get(name, 0)
        if type(value) not in (int, float) or not 0 <= value < LATEST:  # which is neither true nor NaN
            raise TokenRefused("malformed")
    if claims["exp"] + leeway <= now if "exp" in claims else must_expire:
        raise TokenRefused("expired")
    if max(claims.get("nbf", 0), claims.get("iat", 0)) - leeway > now:
        raise TokenRefused("not_yet")
