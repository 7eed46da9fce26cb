"""S4: how fast a downstream service validates access tokens: at first sight, beside the signature check alone; and
known ones, with expiry, feed and what was revoked looked at each time. One thread, per second of its own time."""

import statistics
import time
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.util import urlsafe_b64decode

from authsvc.core import jwt
from authsvc.core.crypto import new_id
from authsvc.core.jwt import SigningKey
from authsvc.sdk.door import SILENCE
from authsvc.sdk.issuer import Issuer
from authsvc.sdk.revoked import SESSION_REVOKED
from authsvc.sdk.rules import Rules

ISSUER, AUDIENCE = "https://auth.example", "https://orders.example"
ROUNDS, TOKENS, REPEATS, REVOKED = 60, 200, 50, 10_000


def rows() -> Iterator[tuple[str, str]]:
    """By short turns, so that a busy moment of the machine hits all of them."""
    key, raw, first, known = jwt.generate(jwt.ES256), [], [], []
    rules = _rules(key)
    for _ in range(ROUNDS):
        rules.feed.beat()
        tokens = [_token(key) for _ in range(TOKENS)]
        raw.append(_rate(_raw_check(key), [_signed(token) for token in tokens]))
        first.append(_rate(lambda token: _first_sight(rules, token), tokens))
        again = [
            "".join(token) for token in map(list, tokens * REPEATS)
        ]  # strings of their own, as requests bring them
        known.append(_rate(rules.known, again))
    if rules.metrics().cache_hits != ROUNDS * TOKENS * REPEATS:
        raise RuntimeError("not every known token was known")
    ratios = [ours / alone for ours, alone in zip(first, raw, strict=True)]
    yield "S4 ES256 signature check alone, checks/s", f"{statistics.median(raw):,.0f}"
    yield "S4 sdk, first sight, tokens/s", f"{statistics.median(first):,.0f}"
    yield "S4 ratio (goal 0.60)", f"{statistics.median(ratios):.2f}"
    yield f"S4 sdk, known, {REVOKED:,} revoked, tokens/s (goal 300,000)", f"{statistics.median(known):,.0f}"


def _token(key: SigningKey) -> str:
    """As of a person, with everything in it."""
    now = int(time.time())
    return jwt.sign(key, jwt.ACCESS_TOKEN, {
        "iss": ISSUER, "sub": new_id(), "aud": AUDIENCE, "iat": now, "exp": now + 300, "jti": new_id(),
        "client_id": "authsvc-session", "scope": "openid profile email", "sid": new_id(), "auth_time": now,
        "amr": ["pwd", "otp"], "acr": "aal2", "roles": ["admin"],
    })  # fmt: skip


def _rules(key: SigningKey) -> Rules:
    """A verifier's, with keys, a feed that is complete, and a set of what was revoked."""
    rules = Rules(Issuer(ISSUER, "orders", "secret", time.monotonic), AUDIENCE, "refuse", SILENCE)
    rules.keys.fill(jwt.jwks({key.kid: key.public}), "", time.monotonic())
    rules.feed.ready()
    for _ in range(REVOKED):
        ended = {"events": {SESSION_REVOKED: {}}, "sub_id": {"session": {"id": new_id()}}}
        rules.revoked.hear(ended, time.monotonic())
    return rules


def _signed(token: str) -> tuple[bytes, bytes]:
    """What was signed, and the signature in the form in which cryptography takes it."""
    signed, _, signature = token.rpartition(".")
    raw = urlsafe_b64decode(signature.encode())
    return signed.encode(), encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))


def _raw_check(key: SigningKey) -> Callable[[tuple[bytes, bytes]], None]:
    public, algorithm = key.key.public_key, ec.ECDSA(hashes.SHA256())
    return lambda pair: public.verify(pair[1], pair[0], algorithm)


def _first_sight(rules: Rules, token: str) -> None:
    """The whole way of `Verifier.verify`, which needs nothing from outside here."""
    if rules.known(token) is None:
        for step in rules.check(token):
            raise RuntimeError(f"asked for {step}")


def _rate(check: Callable[[object], object], given: list[object]) -> float:
    """Calls in a second of this thread's time."""
    began = time.thread_time()
    for one in given:
        check(one)
    return len(given) / (time.thread_time() - began)
