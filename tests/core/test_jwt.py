import json
import time
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.util import int_to_base64, urlsafe_b64decode, urlsafe_b64encode

from authsvc.core import jwt
from authsvc.core.errors import KeysRefused, TokenRefused
from authsvc.core.jwt import ALGORITHMS, EDDSA, ES256, RS256, SigningKey

ISSUER, AUDIENCE = "https://auth.example", "https://orders.example"


@pytest.fixture(scope="module", params=ALGORITHMS)
def key(request: pytest.FixtureRequest) -> SigningKey:
    return jwt.generate(request.param)


def claims(**changes: Any) -> dict[str, Any]:
    return {"iss": ISSUER, "aud": AUDIENCE, "exp": 1000, **changes}


def verify(token: str, key: SigningKey, now: float = 900, **options: Any) -> dict[str, Any]:
    keys = jwt.load_jwks(json.loads(json.dumps(jwt.jwks({key.kid: key.public}))))
    return jwt.verify(token, keys, **{"typ": "at+jwt", "issuer": ISSUER, "audience": AUDIENCE, "now": now, **options})


def test_what_was_signed_is_verified_by_the_published_key(key: SigningKey) -> None:
    said = claims(sub="anna", name="Anna Ünal", roles=["a", "b"])
    assert verify(jwt.sign(key, "at+jwt", said), key) == said


@pytest.mark.promise("B9")
def test_a_token_is_not_verified_by_another_key_of_its_name(key: SigningKey) -> None:
    other = SigningKey(key.kid, key.alg, jwt.generate(key.alg).key)
    with pytest.raises(TokenRefused) as refused:
        verify(jwt.sign(other, "at+jwt", claims()), key)
    assert refused.value.reason == "signature"


def test_other_libraries_verify_what_we_sign(key: SigningKey) -> None:
    token = jwt.sign(key, "at+jwt", claims(exp=time.time() + 60))
    published = pyjwt.PyJWK(key.public.jwk())
    assert pyjwt.decode(token, published, algorithms=[key.alg], audience=AUDIENCE)["iss"] == ISSUER


def test_a_private_key_comes_back_from_where_it_was_kept(key: SigningKey) -> None:
    kept = jwt.signing_key(json.loads(json.dumps(key.jwk())))
    assert (kept.kid, kept.alg) == (key.kid, key.alg)
    verify(jwt.sign(kept, "at+jwt", claims()), key)


@pytest.mark.promise("B7")
def test_no_private_part_is_published_or_printed(key: SigningKey) -> None:
    private = {key.jwk()[name] for name in ("d", "p", "q", "dp", "dq", "qi") if name in key.jwk()}
    shown = repr(key) + repr(key.public) + json.dumps(key.public.jwk())
    assert private
    assert not [secret for secret in private if secret in shown]


def test_a_key_is_made_for_an_algorithm_that_we_use() -> None:
    with pytest.raises(ValueError, match="HS256 is none of"):
        jwt.generate("HS256")


def test_what_json_does_not_know_is_not_signed(key: SigningKey) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        jwt.sign(key, "at+jwt", claims(exp=float("nan")))


@pytest.mark.parametrize(
    ("changes", "now", "reason"),
    [
        ({}, 1004.9, None),
        ({}, 1005, "expired"),
        ({"nbf": 905}, 900, None),
        ({"nbf": 905.1}, 900, "not_yet"),
        ({"iat": 906}, 900, "not_yet"),
        ({"exp": None}, 900, "malformed"),
    ],
)
@pytest.mark.asvs("V9.2.1")
def test_clocks_may_differ_by_the_leeway_and_no_more(changes: dict[str, Any], now: float, reason: str | None) -> None:
    key = jwt.generate(ES256)
    token = jwt.sign(key, "at+jwt", claims(**changes))
    if reason is None:
        verify(token, key, now)
        return
    with pytest.raises(TokenRefused) as refused:
        verify(token, key, now)
    assert refused.value.reason == reason


def test_only_who_says_so_takes_what_does_not_expire() -> None:
    key = jwt.generate(ES256)
    token = jwt.sign(key, jwt.SECURITY_EVENT, {"iss": ISSUER, "aud": AUDIENCE})
    assert verify(token, key, typ=jwt.SECURITY_EVENT, must_expire=False)
    with pytest.raises(TokenRefused):
        verify(token, key, typ=jwt.SECURITY_EVENT)


def test_any_audience_will_do_where_none_is_asked_for() -> None:
    key = jwt.generate(ES256)
    assert verify(jwt.sign(key, "at+jwt", claims(aud="https://bills.example")), key, audience=None)


def published(**changes: Any) -> dict[str, Any]:
    """An ES256 key as it is published; a change to None takes a member away."""
    jwk = {**jwt.generate(ES256).public.jwk(), **changes}
    return {name: value for name, value in jwk.items() if value is not None}


def rsa(bits: int, exponent: int = 65537, **changes: Any) -> dict[str, Any]:
    numbers = generate_private_key(public_exponent=exponent, key_size=bits).public_key().public_numbers()
    members = {"kty": "RSA", "n": int_to_base64(numbers.n), "e": int_to_base64(numbers.e), "kid": "r", "alg": RS256}
    return {**members, **changes}


def padded_coordinate() -> dict[str, Any]:
    jwk = published()
    return {**jwk, "x": jwk["x"] + "="}


def short_coordinate() -> dict[str, Any]:
    """A key whose x begins with a zero byte, written without it."""
    while True:
        jwk = published()
        x = urlsafe_b64decode(jwk["x"].encode())
        if x[0] == 0:
            return {**jwk, "x": urlsafe_b64encode(x[1:]).decode()}


MANY = {"keys": [published(kid=f"key-{n}") for n in range(129)]}
PRIVATE_EC = ECKey.generate_key("P-256").as_dict(private=True, kid="p", alg=ES256)
WEAK = {
    "a private key": lambda: PRIVATE_EC,
    "a private key for something else": lambda: {**PRIVATE_EC, "use": "enc", "alg": "ECDH-ES"},
    "a shared secret": lambda: OctKey.generate_key(256).as_dict(private=True, kid="o", alg="HS256"),
    "an empty shared secret": lambda: {"kty": "oct", "kid": "o", "alg": "HS256"},
    "RSA of 1024 bits": lambda: rsa(1024),
    "RSA of 2047 bits": lambda: rsa(2047),
    "RSA with exponent 3": lambda: rsa(2048, exponent=3),
    "RSA with exponent 1": lambda: rsa(2048, e="AQ"),
    "RSA with a leading zero": lambda: rsa(2048, e="AAEAAQ"),
    "RSA without a modulus": lambda: {"kty": "RSA", "e": "AQAB", "kid": "r", "alg": RS256},
    "a coordinate without its zeros": short_coordinate,
    "a padded coordinate": padded_coordinate,
    "a point beside the curve": lambda: published(x="A" * 43),
    "a coordinate that is a number": lambda: published(x=7),
    "a coordinate that is missing": lambda: published(y=None),
    "the algorithm of another kind": lambda: published(alg=EDDSA),
    "the algorithm of RSA": lambda: published(alg=RS256),
    "another curve": lambda: ECKey.generate_key("P-384").as_dict(private=False, kid="k", alg=ES256),
    "a curve for key agreement": lambda: OKPKey.generate_key("X25519").as_dict(private=False, kid="k", alg=EDDSA),
    "Ed448": lambda: OKPKey.generate_key("Ed448").as_dict(private=False, kid="k", alg=EDDSA),
    "a short Ed25519 key": lambda: {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "k", "alg": EDDSA},
    "no kid": lambda: published(kid=None),
    "an empty kid": lambda: published(kid=""),
    "a kid that is a number": lambda: published(kid=7),
    "a huge kid": lambda: published(kid="k" * 257),
    "no key": lambda: "key",
}


@pytest.mark.promise("B9")
@pytest.mark.parametrize("name", WEAK)
def test_a_set_with_a_key_that_nobody_may_use_is_refused_whole(name: str) -> None:
    good = published()
    assert jwt.load_jwks({"keys": [good]}).keys() == {good["kid"]}
    with pytest.raises(KeysRefused):
        jwt.load_jwks({"keys": [good, WEAK[name]()]})


@pytest.mark.promise("B9")
def test_a_kid_that_stands_twice_is_refused() -> None:
    with pytest.raises(KeysRefused):
        jwt.load_jwks({"keys": [published(kid="k"), published(kid="k")]})
    with pytest.raises(KeysRefused):
        jwt.load_jwks({"keys": [published(kid="k"), published(kid="k", use="enc")]})


@pytest.mark.promise("B9")
@pytest.mark.parametrize(
    "document", [None, [], "", {}, {"keys": None}, {"keys": {}}, MANY], ids=lambda document: str(document)[:12]
)
def test_what_is_no_key_set_is_refused(document: object) -> None:
    with pytest.raises(KeysRefused):
        jwt.load_jwks(document)


def test_keys_for_other_purposes_are_passed_over() -> None:
    others = [
        published(use="enc"),
        published(alg="ECDH-ES"),
        published(alg=None),
        published(alg=["ES256"]),
        published(key_ops=["encrypt"]),
        {"kty": "AKP", "kid": "new", "alg": "ML-DSA-65", "pub": "AAAA"},
        RSAKey.generate_key(2048).as_dict(private=False, kid="ps", alg="PS256"),
    ]
    good = published(key_ops=["verify"])
    assert jwt.load_jwks({"keys": [*others, good]}).keys() == {good["kid"]}
