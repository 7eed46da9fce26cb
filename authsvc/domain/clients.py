"""Applications that get tokens here (RFC 6749, 2): who they are, and what they may ask for."""

import secrets
from dataclasses import dataclass
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session as Sql

from authsvc.core import scopes
from authsvc.core.crypto import Keyring, new_id
from authsvc.core.errors import FieldError, InvalidFields, NotFound
from authsvc.core.settings import Settings
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.models import Client as Row
from authsvc.models import table

CODE, REFRESH, CLIENT_CREDENTIALS = "authorization_code", "refresh_token", "client_credentials"
GrantType = Literal["authorization_code", "refresh_token", "client_credentials"]
LONGEST_URI = 2048
BELIEVED = 5  # seconds
REMEMBERED = 1024  # clients
PURPOSE = "client secret"
LOOPBACK = ("127.0.0.1", "::1", "localhost")

FIND = select(Row).where(Row.id == bindparam("id"))


@dataclass(frozen=True, slots=True)
class Client:
    """`public`: it has no secret, for it could not keep one. `first_party`: its users are not asked for consent.
    `audiences`: for whom its tokens may be, the issuer unless others were named. `created` in unix seconds."""

    id: str
    name: str
    public: bool
    grant_types: tuple[str, ...]
    redirect_uris: tuple[str, ...]
    logout_uris: tuple[str, ...]
    backchannel_uri: str | None
    scopes: tuple[str, ...]
    audiences: tuple[str, ...]
    first_party: bool
    created: int


class _Known(NamedTuple):
    client: Client
    secret: bytes | None
    read: float  # when, in unix seconds


class Clients:
    """What was read is believed for some seconds: clients come back all the time, and seldom change."""

    def __init__(self, db: Database, keyring: Keyring, settings: Settings, clock: Clock) -> None:
        self._db = db
        self._keyring = keyring
        self._settings = settings
        self._clock = clock
        self._read: dict[str, _Known] = {}

    def find(self, client_id: str) -> Client | None:
        known = self._known(client_id)
        return known.client if known else None

    def authenticate(self, client_id: str, secret: str) -> Client | None:
        """The client, if this is its secret: 256 random bits, which nobody guesses, so no tries are counted."""
        known = self._known(client_id)
        if known is None or known.secret is None:
            return None
        return known.client if self._keyring.accepts(PURPOSE, _bound(client_id, secret), known.secret) else None

    def create(
        self,
        name: str,
        *,
        public: bool = False,
        service: bool = False,
        redirect_uris: tuple[str, ...] = (),
        logout_uris: tuple[str, ...] = (),
        backchannel_uri: str | None = None,
        wanted_scopes: tuple[str, ...] = (),
        audiences: tuple[str, ...] = (),
        first_party: bool = False,
    ) -> tuple[Client, str | None]:
        """A client with redirect URIs logs people in; a `service` gets tokens of its own. Returns it with its secret,
        which is shown this once; a public one has none. Raises InvalidFields."""
        self._check(name, redirect_uris, logout_uris, backchannel_uri, wanted_scopes, audiences, service=service)
        if public and service:
            raise _invalid("public", "A service needs a secret.")
        if not redirect_uris and not service:
            raise _invalid("redirect_uris", "Give a redirect URI, or make it a service.")
        client_id, secret = new_id(), None if public else secrets.token_urlsafe(32)
        row = {
            "id": client_id, "name": name, "secret": self._tag(client_id, secret) if secret else None,
            "grant_types": [CODE, REFRESH] * bool(redirect_uris) + [CLIENT_CREDENTIALS] * service,
            "redirect_uris": list(redirect_uris), "logout_uris": list(logout_uris), "backchannel_uri": backchannel_uri,
            "scopes": list(wanted_scopes or (scopes.FOR_LOGIN if redirect_uris else ())),
            "audiences": list(audiences),
            "first_party": first_party, "created_at": int(self._clock()),
        }  # fmt: skip
        with self._db.transaction() as sql:
            sql.execute(insert(table(Row)), row)
        return self.get(client_id), secret

    def all(self) -> list[Client]:
        with self._db.reading() as sql:
            return [self._client(row) for row in sql.scalars(select(Row).order_by(Row.name, Row.id))]

    def get(self, client_id: str) -> Client:
        """Raises NotFound."""
        client = self.find(client_id)
        if client is None:
            raise NotFound("There is no such client.")
        return client

    def rotate_secret(self, client_id: str) -> str:
        """A new secret; the old one is dead, for other processes within BELIEVED seconds. Raises NotFound, also for a
        public client."""
        secret = secrets.token_urlsafe(32)
        new = update(Row).where(Row.id == client_id, Row.secret.is_not(None))
        with self._db.transaction() as sql:
            found = sql.scalar(new.values(secret=self._tag(client_id, secret)).returning(Row.id))
        if found is None:
            raise NotFound("There is no such client with a secret.")
        self._read.pop(client_id, None)
        return secret

    def _known(self, client_id: str) -> _Known | None:
        now, known = self._clock(), self._read.get(client_id)
        if known is None or abs(now - known.read) > BELIEVED:
            with self._db.reading() as sql:
                row = sql.scalar(FIND, {"id": client_id})
            if row is None:
                self._read.pop(client_id, None)
                return None
            if len(self._read) >= REMEMBERED:
                self._read.clear()
            known = self._read[client_id] = _Known(self._client(row), row.secret, now)
        return known

    def _client(self, row: Row) -> Client:
        return Client(
            row.id, row.name, row.secret is None, tuple(row.grant_types), tuple(row.redirect_uris),
            tuple(row.logout_uris), row.backchannel_uri, tuple(row.scopes),
            tuple(row.audiences) or (self._settings.public_url,), row.first_party, row.created_at,
        )  # fmt: skip

    def _tag(self, client_id: str, secret: str) -> bytes:
        return self._keyring.tag(PURPOSE, _bound(client_id, secret))

    def _check(
        self, name: str, redirect_uris: tuple[str, ...], logout_uris: tuple[str, ...], backchannel_uri: str | None,
        wanted: tuple[str, ...], audiences: tuple[str, ...], *, service: bool,
    ) -> None:  # fmt: skip
        if not name or len(name) > 200 or not name.isprintable():
            raise _invalid("name", "Give a name of at most 200 printable characters.")
        for uri in (*redirect_uris, *logout_uris, *filter(None, (backchannel_uri,))):
            check_uri(uri)
        allowed = scopes.allowed(self._settings, service=service)
        if unknown := [scope for scope in wanted if scope not in allowed]:
            raise _invalid("scopes", f"Unknown scopes: {', '.join(unknown)}. Known are: {', '.join(sorted(allowed))}.")
        known = {self._settings.public_url, *self._settings.audiences}
        if unknown := [audience for audience in audiences if audience not in known]:
            raise _invalid("audiences", f"Unknown audiences: {', '.join(unknown)}. Name them in AUTHSVC_AUDIENCES.")


def remove(sql: Sql, client_id: str) -> None:
    """Forget a client in a larger use case, and what users have agreed to. Raises NotFound."""
    if sql.scalar(delete(Row).where(Row.id == client_id).returning(Row.id)) is None:
        raise NotFound("There is no such client.")


def check_uri(uri: str) -> None:
    """Raises InvalidFields unless a browser, or we, may be sent there: https, plain http on loopback alone (RFC 8252,
    7.3), or an application's own scheme that has a dot (7.1); never with a fragment (RFC 6749, 3.1.2) or a password."""
    plain = all("!" <= char <= "~" for char in uri) and len(uri) <= LONGEST_URI and not {"#", "\\", "*"} & {*uri}
    if not plain or not _leads_home(uri):
        raise _invalid("uri", f"{uri[:100]!a} is not an https address (http on loopback, or a scheme with a dot).")


def _leads_home(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:  # brackets that hold no IPv6 address
        return False
    if not parts.netloc:
        return "." in parts.scheme
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    return secure and bool(parts.hostname) and "@" not in parts.netloc


def _bound(client_id: str, secret: str) -> bytes:
    return f"{client_id}:{secret}".encode("utf-8", "surrogatepass")


def _invalid(field: str, message: str) -> InvalidFields:
    return InvalidFields(FieldError(field, "invalid", message))
