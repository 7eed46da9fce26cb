"""Hostile tokens, each a deviation from an honest one (RFC 8725). Where that makes it worse, the issuer's own key has
signed what was changed."""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

from authsvc.core import jwt
from authsvc.core.crypto import b64url
from authsvc.core.jwt import SIGNERS, SigningKey
from tests.sdk.issuer import AUDIENCE, Issuer

FLATTENED = ("protected", "payload", "signature")  # RFC 7515, 7.2.2
Part = dict[str, Any] | bytes


class Forge:
    """Makes tokens of an issuer. `lair` is the address of a JWKS that is not the issuer's."""

    def __init__(self, issuer: Issuer, lair: str) -> None:
        self.issuer = issuer
        self.lair = lair
        self.thief = jwt.generate(jwt.ES256)

    def header(self, **changes: Any) -> dict[str, Any]:
        header = {"alg": "ES256", "kid": self.issuer.key.kid, "typ": "at+jwt", **changes}
        return {name: value for name, value in header.items() if value is not None}

    def make(self, header: Part | None = None, claims: Part | None = None, key: SigningKey | None = None) -> str:
        """Signed, whatever it says."""
        return self.sign(self.segments(header, claims), key)

    def segments(self, header: Part | None = None, claims: Part | None = None) -> str:
        parts = (self.header() if header is None else header, self.issuer.claims() if claims is None else claims)
        return ".".join(b64url(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in parts)

    def sign(self, segments: str, key: SigningKey | None = None) -> str:
        by = key or self.issuer.key
        return f"{segments}.{b64url(SIGNERS[by.alg].sign(segments.encode(), by.key))}"

    def mac(self, secret: bytes) -> str:
        segments = self.segments(self.header(alg="HS256"))
        return f"{segments}.{b64url(hmac.digest(secret, segments.encode(), hashlib.sha256))}"

    def with_header(self, **changes: Any) -> str:
        return self.make(self.header(**changes))

    def with_claims(self, **changes: Any) -> str:
        return self.make(claims={**self.issuer.claims(), **changes})

    def with_raw(self, name: str, value: str) -> str:
        """A claim as it stands in JSON, valid or not."""
        rest = json.dumps(self.issuer.claims(**{name: None}))
        return self.make(claims=f'{{"{name}": {value}, {rest[1:]}'.encode())

    def twice(self, name: str, value: str) -> str:
        return self.make(claims=f'{{"{name}": "{value}", {json.dumps(self.issuer.claims())[1:]}'.encode())

    @property
    def parts(self) -> list[str]:
        return self.make().split(".")

    @property
    def own_keys(self) -> dict[str, Any]:
        return {"alg": "ES256", **self.thief.public.jwk(), "kid": self.issuer.key.kid}


def with_loose_bits(segment: str) -> str:
    """The same bytes in another spelling: bits of the last character that say nothing are set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    if len(segment) % 4 == 0:
        raise ValueError("every bit of it says something")
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) + 1]


def loose_claims(forge: Forge) -> str:
    """Claims whose length leaves loose bits, whatever the issuer's address is."""
    texts = (forge.segments(claims={**forge.issuer.claims(), "pad": "x" * n}) for n in range(3))
    return forge.sign(with_loose_bits(next(text for text in texts if len(text.split(".")[1]) % 4)))


def padded(segment: str) -> str:
    return segment + "=" * (-len(segment.rpartition(".")[2]) % 4 or 4)


ENTRIES: dict[str, dict[str, Callable[[Forge], str]]] = {
    "algorithm": {
        **{f"alg {alg!r}": lambda f, alg=alg: f.with_header(alg=alg)
           for alg in ("none", "None", "nOnE", "NONE", "", "es256", "ES384", "EdDSA", "Ed25519", "RS256", "HS256", 7,
                       [], ["ES256"], {})},
        "alg missing": lambda f: f.with_header(alg=None),
        "alg none without a signature": lambda f: f.segments(f.header(alg="none")) + ".",
        "HS256 by the key as PEM": lambda f: f.mac(f.issuer.key.public.key.as_pem()),
        "HS256 by the key as DER": lambda f: f.mac(f.issuer.key.public.key.as_der()),
        "HS256 by the key as JWK": lambda f: f.mac(json.dumps(f.issuer.key.public.jwk()).encode()),
        "HS256 by a part of the key": lambda f: f.mac(f.issuer.key.public.jwk()["x"].encode()),
        "HS256 by nothing": lambda f: f.mac(b""),
        "HS256 by the name of the key": lambda f: f.mac(f.issuer.key.kid.encode()),
    },
    "unknown_key": {
        **{f"kid {kid!r}": lambda f, kid=kid: f.with_header(kid=kid)
           for kid in ("../../../../dev/null", "/dev/null", "' OR '1'='1", "x' UNION SELECT 'key' --", "\0", " ", "*",
                       "file:///etc/passwd", "\u043a\u043b\u044e\u0447")},
        "kid that is an address": lambda f: f.make(f.header(kid=f.lair), key=f.thief),
        "kid in capitals": lambda f: f.with_header(kid=f.issuer.key.kid.swapcase()),
        "kid with a space": lambda f: f.with_header(kid=f.issuer.key.kid + " "),
    },
    "signature": {
        "another's key under the same kid": lambda f: f.make(key=f.thief),
        "no signature": lambda f: f.segments() + ".",
        "signature of zeros": lambda f: f"{f.segments()}.{b64url(bytes(64))}",
        "signature in DER": lambda f: f"{f.segments()}.{b64url(bytes([0x30, 0x44]) + bytes(68))}",
        "signature of another token": lambda f: f"{f.segments()}.{f.parts[2]}",
        "claims of another token": lambda f: f"{f.parts[0]}.{b64url(b'{}')}.{f.parts[2]}",
    },
    "type": {
        **{f"typ {typ!r}": lambda f, typ=typ: f.with_header(typ=typ)
           for typ in ("JWT", "jwt", "", "at", "at+jwt ", "application/jwt", "secevent+jwt", "logout+jwt", "dpop+jwt",
                       7, ["at+jwt"])},
        "typ missing": lambda f: f.with_header(typ=None),
    },
    "issuer": {
        **{f"iss {iss!r}": lambda f, iss=iss: f.with_claims(iss=iss)
           for iss in (None, "", 7, [], "https://elsewhere.example")},
        "iss with a slash": lambda f: f.with_claims(iss=f.issuer.url + "/"),
        "iss in a list": lambda f: f.with_claims(iss=[f.issuer.url]),
        "iss in capitals": lambda f: f.with_claims(iss=f.issuer.url.upper()),
        "iss as a user name": lambda f: f.with_claims(iss=f.issuer.url + "@elsewhere.example"),
    },
    "audience": {f"aud {aud!r}": lambda f, aud=aud: f.with_claims(aud=aud)
                 for aud in (None, "", 7, [], {}, True, [AUDIENCE, 7], [[AUDIENCE]], {AUDIENCE: 1}, AUDIENCE + "/",
                             AUDIENCE[:-1], AUDIENCE.upper(), f"{AUDIENCE} x", ["https://bills.example"], [None])},
    "expired": {
        "exp long ago": lambda f: f.with_claims(exp=1),
        "exp zero": lambda f: f.with_claims(exp=0),
        "exp missing": lambda f: f.make(claims=f.issuer.claims(exp=None)),
        "exp six seconds ago": lambda f: f.with_claims(exp=f.issuer.claims()["iat"] - 6),
    },
    "not_yet": {f"{name} in a minute": lambda f, name=name: f.with_claims(**{name: f.issuer.claims()["iat"] + 60})
                for name in ("nbf", "iat")},
    "malformed": {
        **{f"{name} {value[:12]}": lambda f, name=name, value=value: f.with_raw(name, value)
           for name in ("exp", "nbf", "iat")
           for value in ("-1", "-1e300", "1e30", "1e400", "1" * 400, '"1795690981"', "true", "false", "null", "[]",
                         "{}", "NaN", "Infinity", "-Infinity", '""')},
        **{f"kid {kid!r}": lambda f, kid=kid: f.with_header(kid=kid) for kid in ("", 7, [], {}, True, "k" * 257)},
        "kid missing": lambda f: f.with_header(kid=None),
        "kid null": lambda f: f.make({**f.header(), "kid": None}),
        "kid twice": lambda f: f.make(f'{{"kid": "x", {json.dumps(f.header())[1:]}'.encode()),
        "alg twice": lambda f: f.make(f'{{"alg": "none", {json.dumps(f.header())[1:]}'.encode()),
        **{f"{name} twice": lambda f, name=name: f.twice(name, "x") for name in ("sub", "exp", "iss", "aud", "scope")},
        "a name twice, further in": lambda f: f.with_raw("act", '{"sub": "a", "sub": "b"}'),
        "a name twice, spelled otherwise": lambda f: f.twice("s\\u0075b", "root"),
        **{f"crit {crit!r}": lambda f, crit=crit: f.with_header(crit=crit)
           for crit in ([], ["exp"], ["b64"], "exp", 7)},
        "crit b64": lambda f: f.with_header(crit=["b64"], b64=False),
        "jku": lambda f: f.make(f.header(jku=f.lair), key=f.thief),
        "jku and a kid of its own": lambda f: f.make(f.header(jku=f.lair, kid=f.thief.kid), key=f.thief),
        "x5u": lambda f: f.make(f.header(x5u=f.lair), key=f.thief),
        "x5c": lambda f: f.make(f.header(x5c=["MIIB"]), key=f.thief),
        "jwk": lambda f: f.make(f.header(jwk=f.own_keys), key=f.thief),
        "jwk of the issuer": lambda f: f.with_header(jwk=f.issuer.key.public.jwk()),
        "more than 8 KiB": lambda f: f.with_claims(pad="x" * 7_000),
        "10 kB of header": lambda f: f.with_header(pad="x" * 10_000),
        "padding in header and claims": lambda f: f.sign(".".join(map(padded, f.parts[:2]))),
        "padding in the signature": lambda f: padded(f.make()),
        **{f"{name} in part {n}": lambda f, n=n, char=char: ".".join(
            part[:8] + char + part[8:] if i == n else part for i, part in enumerate(f.parts))
           for name, char in {"space": " ", "line end": "\n", "plus": "+", "slash": "/", "equals": "=", "NUL": "\0",
                              "wide letter": "\uff41", "percent": "%41"}.items() for n in range(3)},
        **{f"{name!r} around it": lambda f, name=name: name.replace("T", f.make())
           for name in (" T", "T ", "T\n", "\tT", "T=", "T.", ".T", "T..", "..T", "Bearer T", '"T"', "T,T", "\ufeffT")},
        "loose bits in the signature": lambda f: f"{f.segments()}.{with_loose_bits(f.parts[2])}",
        "loose bits in the claims": loose_claims,
        **{f"text {text!r}": lambda _, text=text: text
           for text in ("", ".", "..", "...", "a", "a.b", "a.b.c", "e30.e30.", "null", "{}", "\ud800", "\0",
                        "\xe9.\xe9.\xe9")},
        "two parts": lambda f: ".".join(f.parts[:2]),
        "five parts": lambda f: f.make() + ".e30.e30",
        "the flattened form": lambda f: json.dumps(dict(zip(FLATTENED, f.parts, strict=True))),
        **{f"header {raw!r}": lambda f, raw=raw: f.make(raw)
           for raw in (b"", b"[]", b"null", b'"x"', b"7", b"{", b"{}", b"\xff\xfe", b"[" * 3000)},
        **{f"claims {raw[:20]!r}": lambda f, raw=raw: f.make(claims=raw)
           for raw in (b"", b"[]", b"null", b'"x"', b"7", b"{", b"{} {}", b"{'a': 1}", b"\xff", b'{"a": "\xff"}',
                       b'{"a": 1,}', b"// x\n{}", b"[" * 3000, b'{"a":' * 1000 + b"1" + b"}" * 1000)},
        "claims in UTF-16": lambda f: f.make(claims=json.dumps(f.issuer.claims()).encode("utf-16")),
        "claims in UTF-32": lambda f: f.make(claims=json.dumps(f.issuer.claims()).encode("utf-32-le")),
        "claims after a mark": lambda f: f.make(claims=b"\xef\xbb\xbf" + json.dumps(f.issuer.claims()).encode()),
    },
}  # fmt: skip
CORPUS = {f"{reason}: {name}": entry for reason, entries in ENTRIES.items() for name, entry in entries.items()}
