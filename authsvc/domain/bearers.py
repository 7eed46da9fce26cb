"""What somebody shows as `Authorization: Bearer` (RFC 6750): a session's own access token, that of a grant, a service's
own, or an API key; and whether it is good at this moment. A signature says who a token was made for. Whether that
session is alive is asked each time: one GET, and no SQL as long as its copy is fresh.
"""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, exists, insert, select
from sqlalchemy.exc import IntegrityError

from authsvc.core.errors import Irrevocable, TokenRefused
from authsvc.core.jwt import PublicKey
from authsvc.core.session import Session
from authsvc.core.settings import Settings
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.domain import api_keys, grants
from authsvc.domain.api_keys import ApiKeys
from authsvc.domain.grants import Grants
from authsvc.domain.keys import Keys
from authsvc.domain.sessions import Sessions
from authsvc.domain.tokens import SESSION_CLIENT, Tokens
from authsvc.models import Client, RevokedToken, table

CHECKED = 4096  # tokens whose signatures a process remembers
ANYWHERE = re.compile(r"(?:^|,)[ \t]*bearer(?:[ \t,]|$)", re.IGNORECASE)
ALONE = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)[ \t]*", re.IGNORECASE)  # RFC 6750, 2.1

STILL_GOOD = select(Client.id).where(
    Client.id == bindparam("client_id"), ~exists().where(RevokedToken.jti == bindparam("jti"))
)
REVOKE = insert(table(RevokedToken))

Kind = Literal["session", "grant", "client", "api_key", "refresh"]


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who asks. `subject` is a user's id or a client's. What follows `jti` is about people, as they are now, and empty
    for a service; an API key comes from no login, so it has no `sid`, `amr` and `authenticated`. Times in unix
    seconds."""

    kind: Kind
    subject: str
    client_id: str
    scopes: tuple[str, ...]
    audiences: tuple[str, ...]
    issued: int
    expires: int | None
    jti: str
    user: str = ""
    email: str = ""
    name: str = ""
    roles: tuple[str, ...] = ()
    sid: str = ""
    amr: tuple[str, ...] = ()
    authenticated: int | None = None


def token_in(authorization: str) -> str | None:
    """The token of an Authorization header; None without one: other schemes are somebody else's. Raises TokenRefused
    for a header that is not clear, such as one that came twice."""
    if not ANYWHERE.search(authorization):
        return None
    found = ALONE.fullmatch(authorization)
    if found is None:
        raise TokenRefused("malformed")
    return found[1]


class Bearers:
    def __init__(
        self, db: Database, keys: Keys, tokens: Tokens, sessions: Sessions, grants_: Grants, api_keys_: ApiKeys,
        settings: Settings, clock: Clock,
    ) -> None:  # fmt: skip
        self._db = db
        self._keys = keys
        self._tokens = tokens
        self._sessions = sessions
        self._grants = grants_
        self._api_keys = api_keys_
        self._everywhere = (settings.public_url, *settings.audiences)
        self._clock = clock
        self._checked: dict[bytes, tuple[Mapping[str, PublicKey], dict[str, Any]]] = {}

    def check(self, token: str) -> Bearer:
        """Who shows this token. Raises TokenRefused, or StorageDown when nobody can tell."""
        if token.startswith(api_keys.PREFIX):
            return self._of_api_key(token)
        claims = self._claims(token)
        return self._of_session(claims) if "sid" in claims else self._of_client(claims)

    def of_refresh_token(self, token: str, client_id: str) -> Bearer:
        """What a client's own refresh token stands for; it opens nothing but the token endpoint. Raises TokenRefused
        or StorageDown."""
        found = self._grants.current(token, client_id)
        if found is None:
            raise TokenRefused("revoked")
        grant, session = found
        return Bearer(
            "refresh", session.user, client_id, tuple(grant.scope.split()), (grant.audience,), grant.rotated_at,
            grant.expires_at, grant.id, *_person(session),
        )  # fmt: skip

    def revoke(self, token: str, client_id: str) -> None:
        """A client gives back what it has got (RFC 7009): a refresh token, or an access token of a grant, ends the
        grant. One of somebody else, or that is not good, changes nothing. Raises Irrevocable."""
        if token.startswith(grants.PREFIX):
            self._end(self._grants.grant_of(token, client_id))
            return
        if token.startswith(api_keys.PREFIX):
            raise Irrevocable("An API key is revoked by its owner.")
        with suppress(TokenRefused):
            self._revoke_access(self._claims(token), client_id)

    def _revoke_access(self, claims: dict[str, Any], client_id: str) -> None:
        if claims["client_id"] == SESSION_CLIENT:
            raise Irrevocable("The token of a session ends with it: log out.")
        if claims["client_id"] != client_id:
            return
        if "sid" in claims:
            self._end(claims["gid"])
            return
        with suppress(IntegrityError), self._db.transaction() as sql:  # it was revoked before
            sql.execute(REVOKE, {"jti": claims["jti"], "expires_at": claims["exp"]})

    def _end(self, grant: str | None) -> None:
        if grant:
            self._grants.end(grant, grants.REVOKED)

    def _claims(self, token: str) -> dict[str, Any]:
        """Those of a token that we have signed. A signature is checked once as long as our keys are the same ones, for
        that costs more than all the rest. Raises TokenRefused or StorageDown."""
        keys, digest = self._keys.public(), hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known, claims = self._checked.get(digest, (None, {}))
        if known is not keys or claims["exp"] <= self._clock():
            claims = self._tokens.claims(token)
            if len(self._checked) >= CHECKED:
                self._checked.clear()
            self._checked[digest] = keys, claims
        return claims

    def _of_session(self, claims: dict[str, Any]) -> Bearer:
        session = self._sessions.by_sid(claims["sid"])
        if session is None or claims.get("gid") in session.data.get(grants.ENDED_GRANTS, ()):
            raise TokenRefused("revoked")
        kind: Kind = "session" if claims["client_id"] == SESSION_CLIENT else "grant"
        return Bearer(kind, *_about(claims), *_person(session))

    def _of_client(self, claims: dict[str, Any]) -> Bearer:
        with self._db.reading() as sql:
            client = sql.scalar(STILL_GOOD, {"client_id": claims["client_id"], "jti": claims["jti"]})
        if client is None:
            raise TokenRefused("revoked")
        return Bearer("client", *_about(claims))

    def _of_api_key(self, token: str) -> Bearer:
        key = self._api_keys.shown(token)
        return Bearer(
            "api_key", key.user, "", key.scopes, self._everywhere, key.created, key.expires, key.id,
            key.user, key.email, key.name, key.roles,
        )  # fmt: skip


def _person(session: Session) -> tuple[str, str, str, tuple[str, ...], str, tuple[str, ...], int]:
    return (
        session.user, session.email, session.name, session.roles, session.sid, session.amr, session.authenticated,
    )  # fmt: skip


def _about(claims: dict[str, Any]) -> tuple[str, str, tuple[str, ...], tuple[str, ...], int, int, str]:
    scopes = tuple(claims["scope"].split())
    return claims["sub"], claims["client_id"], scopes, (claims["aud"],), claims["iat"], claims["exp"], claims["jti"]
