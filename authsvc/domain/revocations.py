"""What verifiers of access tokens are told: security event tokens (RFC 8417) with the events of CAEP 1.0.

Each is made of a fact and of nothing else: told again it has the same claims, `jti` included. They expire never, and
matter for as long as an access token lives.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, text

from authsvc.core import events, jwt
from authsvc.core.errors import Unavailable
from authsvc.core.events import Fact
from authsvc.core.settings import Settings
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.domain.keys import LONGEST_LIFE, Keys
from authsvc.domain.outbox import fact_of
from authsvc.models import REVOCATIONS, Event

CAEP = "https://schemas.openid.net/secevent/caep/event-type/"


class Revocations:
    def __init__(self, db: Database, keys: Keys, settings: Settings, clock: Clock) -> None:
        self._db = db
        self._keys = keys
        self._issuer = settings.public_url
        self._clock = clock

    def sign(self, facts: Sequence[Fact]) -> list[str | None]:
        """A token for each fact, None where it is nothing to a verifier. Raises Unavailable, also in a command that
        does not know our address: the relay does."""
        if not self._issuer:
            raise Unavailable
        return [self._signed(claims) if claims else None for claims in self._claims(facts)]

    def recent(self) -> list[str]:
        """What a verifier has to know that knows nothing, oldest first: every token that was refused before its time
        has expired a minute after this forgets it. Raises StorageDown."""
        recent = select(Event).where(text(REVOCATIONS), Event.at > int(self._clock()) - LONGEST_LIFE)
        with self._db.reading() as sql:
            facts = [fact_of(event) for event in sql.scalars(recent.order_by(Event.id))]
        return [self._signed(claims) for claims in self._claims(facts) if claims]

    def _claims(self, facts: Sequence[Fact]) -> list[dict[str, Any] | None]:
        return [claims_of(fact, self._issuer) for fact in facts]

    def _signed(self, claims: dict[str, Any]) -> str:
        return jwt.sign(self._keys.signing(), jwt.SECURITY_EVENT, claims)


def claims_of(fact: Fact, issuer: str) -> dict[str, Any] | None:
    """The claims of the token that tells a fact (RFC 8417, 2.2; subjects as in RFC 9493). None for one that is nothing
    to a verifier, and for one whose data were erased with the account: its sessions have ended."""
    more: dict[str, Any]
    if fact.name == events.SESSION_ENDED:
        kind, subject, more = "session-revoked", _session(fact, issuer), {}
    elif fact.name == events.GRANT_ENDED and "grant" in fact.data:
        kind, more = "session-revoked", {}
        subject = _session(fact, issuer) | {"grant": {"format": "opaque", "id": fact.data["grant"]}}
    elif fact.name == events.ROLES_CHANGED and "roles" in fact.data:
        kind, subject, more = "token-claims-change", _user(fact, issuer), {"claims": {"roles": fact.data["roles"]}}
    elif fact.name == events.ACCOUNT_CHANGED and "password" in fact.data:
        kind, subject = "credential-change", _user(fact, issuer)
        more = {"credential_type": "password", "change_type": "update"}
    else:
        return None
    return {
        "iss": issuer, "aud": issuer, "iat": fact.at, "jti": f"{fact.at}-{fact.id}", "sub_id": subject,
        "events": {CAEP + kind: {"event_timestamp": fact.at, **more}},
    }  # fmt: skip


def _user(fact: Fact, issuer: str) -> dict[str, Any]:
    return {"format": "iss_sub", "iss": issuer, "sub": fact.user}


def _session(fact: Fact, issuer: str) -> dict[str, Any]:
    return {"format": "complex", "user": _user(fact, issuer), "session": {"format": "opaque", "id": fact.sid}}
