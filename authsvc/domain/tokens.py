"""Access tokens (RFC 9068): what a downstream service is shown, and can check without asking us."""

from typing import Any

from authsvc.core import jwt
from authsvc.core.crypto import new_id
from authsvc.core.session import Session
from authsvc.core.settings import Settings
from authsvc.core.store import Clock
from authsvc.domain.keys import Keys

ACCESS_LIFE = 300  # seconds
SESSION_CLIENT = "authsvc-session"  # the client of a token that a page asked for with its cookie


class Tokens:
    def __init__(self, keys: Keys, settings: Settings, clock: Clock) -> None:
        self._keys = keys
        self._issuer = settings.public_url
        self._clock = clock

    def of_session(
        self, session: Session, *, client_id: str, scope: str, audience: str, grant: str | None = None
    ) -> str:
        """A person's: it is valid as long as their session and, if it came of one, the grant. Raises StorageDown."""
        person = {
            "sid": session.sid, "auth_time": session.authenticated, "amr": list(session.amr), "acr": acr(session.amr),
            "roles": list(session.roles),
        }  # fmt: skip
        return self._signed(session.user, client_id, scope, audience, person | ({"gid": grant} if grant else {}))

    def of_client(self, client_id: str, *, scope: str, audience: str) -> str:
        """A service's own. Raises StorageDown."""
        return self._signed(client_id, client_id, scope, audience, {})

    def claims(self, token: str, audience: str | None = None) -> dict[str, Any]:
        """Those of an access token that we have signed and whose time is not over. Whether its session is alive is not
        asked. Raises TokenRefused or StorageDown."""
        return jwt.verify(
            token, self._keys.public(), typ=jwt.ACCESS_TOKEN, issuer=self._issuer, audience=audience, now=self._clock()
        )

    def _signed(self, subject: str, client_id: str, scope: str, audience: str, more: dict[str, Any]) -> str:
        now = int(self._clock())
        claims = {
            "iss": self._issuer, "sub": subject, "aud": audience, "iat": now, "exp": now + ACCESS_LIFE,
            "jti": new_id(), "client_id": client_id, "scope": scope, **more,
        }  # fmt: skip
        return jwt.sign(self._keys.signing(), jwt.ACCESS_TOKEN, claims)


def acr(amr: tuple[str, ...]) -> str:
    """How sure it is who logged in (OpenID Connect Core, 2), as the assurance levels of NIST SP 800-63B: one factor, or
    more."""
    return "aal2" if len(amr) > 1 else "aal1"
