"""OpenID Connect: who has logged in, told to the client that asked (Core 1.0)."""

from dataclasses import dataclass
from typing import Any

from authlib.oidc.core.util import create_half_hash

from authsvc.core import jwt, scopes
from authsvc.core.errors import TokenRefused
from authsvc.core.settings import Settings
from authsvc.core.store import Clock
from authsvc.domain.bearers import Bearer
from authsvc.domain.grants import Granted
from authsvc.domain.keys import FORGOTTEN_AFTER, Keys
from authsvc.domain.tokens import ACCESS_LIFE, acr

ID_TOKEN = "JWT"  # noqa: S105 - the `typ` of its header: no access token (at+jwt) passes for one, nor the other way round


@dataclass(frozen=True, slots=True)
class Hint:
    """An ID token of ours that came back, to say whose session a logout is about."""

    client_id: str
    user: str
    sid: str


class Oidc:
    def __init__(self, keys: Keys, settings: Settings, clock: Clock) -> None:
        self._keys = keys
        self._issuer = settings.public_url
        self._clock = clock

    def id_token(self, granted: Granted, access_token: str) -> str:
        """For the client, about the login (Core, 2). Raises StorageDown."""
        key, now, session = self._keys.signing(), int(self._clock()), granted.session
        claims = {
            "iss": self._issuer, "sub": session.user, "aud": granted.client_id, "iat": now, "exp": now + ACCESS_LIFE,
            "acr": acr(session.amr), "amr": list(session.amr), "sid": session.sid,
            "at_hash": create_half_hash(access_token, key.alg).decode(),
        }  # fmt: skip
        if session.authenticated <= granted.since:  # a later proof is not the login that this is about (Core, 12.2)
            claims["auth_time"] = session.authenticated
        if granted.nonce:
            claims["nonce"] = granted.nonce
        return jwt.sign(key, ID_TOKEN, claims)

    def hint(self, token: str) -> Hint | None:
        """What an ID token says; None unless we have signed it. It may be long expired (RP-Initiated Logout, 2)."""
        try:
            claims = jwt.verify(
                token, self._keys.public(ever=True), typ=ID_TOKEN, issuer=self._issuer, audience=None,
                now=self._clock(), leeway=FORGOTTEN_AFTER,
            )  # fmt: skip
        except TokenRefused:
            return None
        return Hint(claims["aud"], claims["sub"], claims["sid"])


def about(person: Bearer) -> dict[str, Any]:
    """The claims that the scopes of a token give its client (Core, 5.4). Every account has a verified email."""
    claims: dict[str, Any] = {"sub": person.user}
    if scopes.PROFILE in person.scopes:
        claims["name"] = person.name
    if scopes.EMAIL in person.scopes:
        claims |= {"email": person.email, "email_verified": True}
    return claims
