"""Keys for signed tokens, private and published (RFC 7517).

A key has one algorithm, for good. A published set is taken whole or not at all, and each key in it must be written as
we would write it: joserfc would also take padded base64, short coordinates, weak RSA keys and private ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import base64_to_int

from authsvc.core.errors import KeysRefused

# As in the header of a token, in a JWK and in discovery. Ed25519 goes by its old name on the wire (RFC 8037): few
# verifiers know the new one of RFC 9864. Keys of other curves are not used, so it means one algorithm all the same.
ES256, EDDSA, RS256 = "ES256", "EdDSA", "RS256"
ALGORITHMS = (ES256, EDDSA, RS256)

SHAPES = {ES256: ("EC", "P-256"), EDDSA: ("OKP", "Ed25519"), RS256: ("RSA", None)}
PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
MAX_KEYS = 128  # in a set: an issuer that rotates every few seconds publishes as many
MAX_KID = 256  # characters
RSA_BITS = range(2048, 8193)
RSA_EXPONENT = 65537

AnyKey = ECKey | OKPKey | RSAKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    kid: str
    alg: str
    key: AnyKey = field(repr=False, hash=False)

    def jwk(self) -> dict[str, Any]:
        """As it stands in a JWKS (RFC 7517, 4)."""
        return {**self.key.as_dict(private=False), "kid": self.kid, "alg": self.alg, "use": "sig"}


@dataclass(frozen=True, slots=True)
class SigningKey:
    kid: str
    alg: str
    key: AnyKey = field(repr=False, hash=False)

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
