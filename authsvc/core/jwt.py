"""Signed tokens: what we sign, and what a verifier believes (RFC 7515, 7517, 7519, 8725).

joserfc signs and checks. What stands around it is stricter than a library for everybody can be: a key has one
algorithm, a token names its key and brings none along, and each thing has one spelling.

Ed25519 goes by its old name on the wire, `EdDSA` (RFC 8037): few verifiers know the new one of RFC 9864. Keys of
other curves are not used, so it means one algorithm all the same.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import base64_to_int, urlsafe_b64decode

from authsvc.core.crypto import b64url
from authsvc.core.errors import KeysRefused, TokenRefused

ES256, EDDSA, RS256 = "ES256", "EdDSA", "RS256"
ALGORITHMS = (ES256, EDDSA, RS256)  # as in the header of a token, in a JWK and in discovery

ACCESS_TOKEN = "at+jwt"  # noqa: S105 - RFC 9068, 2.1
SECURITY_EVENT = "secevent+jwt"  # RFC 8417, 2.3
LOGOUT_TOKEN = "logout+jwt"  # noqa: S105 - OpenID Connect Back-Channel Logout 1.0, 2.4

MAX_TOKEN = 8192  # characters
MAX_KEYS = 32  # in a set
MAX_KID = 256  # characters
RSA_BITS = range(2048, 8193)
RSA_EXPONENT = 65537
LATEST = 2**40  # unix seconds

SIGNERS = {ES256: JWSRegistry.algorithms[ES256], EDDSA: JWSRegistry.algorithms["Ed25519"],
           RS256: JWSRegistry.algorithms[RS256]}  # fmt: skip
SHAPES = {ES256: ("EC", "P-256"), EDDSA: ("OKP", "Ed25519"), RS256: ("RSA", None)}
PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
UNTRUSTED = frozenset({"crit", "jku", "jwk", "x5u", "x5c"})  # in a header: extensions, and keys of the token's own

AnyKey = ECKey | OKPKey | RSAKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    kid: str
    alg: str
    key: AnyKey = field(repr=False, compare=False)

    def jwk(self) -> dict[str, Any]:
        """As it stands in a JWKS (RFC 7517, 4)."""
        return {**self.key.as_dict(private=False), "kid": self.kid, "alg": self.alg, "use": "sig"}


@dataclass(frozen=True, slots=True)
class SigningKey:
    kid: str
    alg: str
    key: AnyKey = field(repr=False, compare=False)

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.kid, self.alg, _import(self.key.as_dict(private=False)))

    def jwk(self) -> dict[str, Any]:
        """The private key, to be sealed before it is kept anywhere."""
        return {**self.key.as_dict(private=True), "kid": self.kid, "alg": self.alg}


def generate(alg: str) -> SigningKey:
    """A new key. Its `kid` is its thumbprint (RFC 7638)."""
    key: AnyKey
    if alg == ES256:
        key = ECKey.generate_key("P-256")
    elif alg == EDDSA:
        key = OKPKey.generate_key("Ed25519")
    elif alg == RS256:
        key = RSAKey.generate_key(2048)
    else:
        raise ValueError(f"{alg} is none of {', '.join(ALGORITHMS)}")
    return SigningKey(key.thumbprint(), alg, key)


def signing_key(jwk: Mapping[str, Any]) -> SigningKey:
    """What `SigningKey.jwk` gave."""
    members = {name: value for name, value in jwk.items() if name not in {"kid", "alg"}}
    return SigningKey(jwk["kid"], jwk["alg"], _import(members))


def jwks(keys: Mapping[str, PublicKey]) -> dict[str, Any]:
    return {"keys": [key.jwk() for key in keys.values()]}


def load_jwks(document: object) -> dict[str, PublicKey]:
    """The keys of a JWKS (RFC 7517, 5) by their `kid`, without those that are not for signatures of ours.

    Raises KeysRefused for the whole set if there is a private key or two of one `kid` in it, or a key that is weak,
    written oddly, or of another kind than its algorithm.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise KeysRefused("a key set is an object with a list of a few keys")
    kids = [_kid(entry) for entry in entries]
    if len(set(kids)) < len(kids):
        raise KeysRefused("two keys have the same kid")
    return {kid: _public_key(kid, entry) for kid, entry in zip(kids, entries, strict=True) if _ours(entry)}


def _kid(entry: object) -> str:
    if not isinstance(entry, dict) or entry.get("kty") == "oct" or entry.keys() & PRIVATE:
        raise KeysRefused("a published set has public keys only")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        raise KeysRefused("a key has no kid")
    return kid


def _ours(entry: dict[str, Any]) -> bool:
    operations = entry.get("key_ops", ["verify"])
    return entry.get("alg") in ALGORITHMS and entry.get("use", "sig") == "sig" and operations == ["verify"]


def _public_key(kid: str, entry: dict[str, Any]) -> PublicKey:
    alg = entry["alg"]
    if (entry.get("kty"), entry.get("crv")) != SHAPES[alg]:
        raise KeysRefused(f"the key {kid} is not one for {alg}")
    members: dict[str, Any] = {name: entry[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in entry}
    try:
        if alg == RS256:
            _check_rsa(base64_to_int(members["n"]), base64_to_int(members["e"]))
        key = _import(members)
        if type(key).import_key(key.public_key).as_dict() != members:  # type: ignore[arg-type]
            raise KeysRefused(f"the key {kid} is written oddly")
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise KeysRefused(f"the key {kid} cannot be read") from error
    return PublicKey(kid, alg, key)


def _import(members: dict[str, Any]) -> AnyKey:
    kinds: dict[str, type[AnyKey]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
    return kinds[members["kty"]].import_key(members)


def _check_rsa(n: int, e: int) -> None:
    if n.bit_length() not in RSA_BITS or e != RSA_EXPONENT or _roca(n):
        raise KeysRefused("an RSA key is weak")


def _roca(n: int) -> bool:
    """Whether a modulus is of the kind of CVE-2017-15361: modulo every small prime it is a power of 65537."""
    return all(pow(n, order, prime) == 1 for prime, order in _orders())


@lru_cache(maxsize=1)
def _orders() -> tuple[tuple[int, int], ...]:
    """The primes up to 167, each with the order of 65537 modulo it."""
    primes = [n for n in range(3, 168) if all(n % d for d in range(2, n))]
    return tuple((p, next(k for k in range(1, p) if pow(RSA_EXPONENT, k, p) == 1)) for p in primes)


def sign(key: SigningKey, typ: str, claims: Mapping[str, Any]) -> str:
    """A JWS in compact form (RFC 7515, 7.1) of the claims."""
    payload = json.dumps(claims, separators=(",", ":"), allow_nan=False).encode()
    signed = f"{_header(key.alg, key.kid, typ)}.{b64url(payload)}"
    return f"{signed}.{b64url(SIGNERS[key.alg].sign(signed.encode(), key.key))}"


@lru_cache(maxsize=64)
def _header(alg: str, kid: str, typ: str) -> str:
    return b64url(json.dumps({"alg": alg, "kid": kid, "typ": typ}, separators=(",", ":")).encode())


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
    if header.get("typ") not in {typ, f"application/{typ}"}:
        raise TokenRefused("type")
    claims = _parse(payload)
    if claims.get("iss") != issuer:
        raise TokenRefused("issuer")
    if audience is not None and audience not in _audiences(claims.get("aud")):
        raise TokenRefused("audience")
    _check_times(claims, now, leeway, must_expire)
    return claims


def check_signature(token: str, keys: Mapping[str, PublicKey]) -> tuple[dict[str, Any], bytes]:
    """Header and payload of a JWS that one of the keys has signed. Nothing is said about what the payload says."""
    header = _header_of(token)
    key = keys.get(header["kid"])
    if key is None:
        raise TokenRefused("unknown_key")
    if header.get("alg") != key.alg:
        raise TokenRefused("algorithm")
    signed, _, signature = token.rpartition(".")
    if not SIGNERS[key.alg].verify(signed.encode(), _decode(signature), key.key):
        raise TokenRefused("signature")
    return header, _decode(signed.partition(".")[2])


def kid_of(token: str) -> str:
    """The name of the key that a token says it is signed with. Raises TokenRefused."""
    kid: str = _header_of(token)["kid"]
    return kid


def _header_of(token: str) -> dict[str, Any]:
    if len(token) > MAX_TOKEN or token.count(".") != 2:
        raise TokenRefused("malformed")
    header = _parse(_decode(token.partition(".")[0]))
    kid = header.get("kid")
    if header.keys() & UNTRUSTED or not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        raise TokenRefused("malformed")
    return header


def _decode(segment: str) -> bytes:
    """base64url in its one spelling: no padding, no spaces, no bits beyond the last byte."""
    try:
        return urlsafe_b64decode(segment.encode("ascii"))
    except ValueError as error:
        raise TokenRefused("malformed") from error


def _parse(raw: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 in which no name stands twice (RFC 7515, 4; RFC 8725, 2.4)."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise TokenRefused("malformed") from error
    if not isinstance(value, dict):
        raise TokenRefused("malformed")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands twice")
    return members


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _audiences(aud: object) -> Iterator[str]:
    """Of a claim that is one string or a list of them (RFC 7519, 4.1.3)."""
    each = aud if isinstance(aud, list) else [aud]
    if not all(isinstance(one, str) for one in each):
        raise TokenRefused("audience")
    return iter(each)


def _check_times(claims: dict[str, Any], now: float, leeway: int, must_expire: bool) -> None:
    exp, nbf, iat = (_time(claims, name) for name in ("exp", "nbf", "iat"))
    if (exp is None and must_expire) or (exp is not None and exp + leeway <= now):
        raise TokenRefused("expired")
    if any(time is not None and time - leeway > now for time in (nbf, iat)):
        raise TokenRefused("not_yet")


def _time(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519, 2), None if the claim is absent."""
    if name not in claims:
        return None
    value = claims[name]
    if type(value) not in (int, float) or not 0 <= value < LATEST:  # which is neither true nor NaN
        raise TokenRefused("malformed")
    time: float = value
    return time
