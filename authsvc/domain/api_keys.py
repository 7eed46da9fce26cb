"""API keys: what programs show that act for a person, in place of a login.

A key is `ask_` and 88 characters: id (16 bytes), secret (32), tag (18), as in a session's cookie. One that we have
never made is refused by its tag, with no look-up; of the secret a keyed SHA-256 is stored.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row as SqlRow
from sqlalchemy import bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session as Sql

from authsvc.core import events, scopes
from authsvc.core.crypto import Keyring, Token, new_token, read_token, write_token
from authsvc.core.errors import FieldError, InvalidFields, NotFound, StorageDown, TokenRefused, TooMany
from authsvc.core.events import Fact
from authsvc.core.settings import DAY, MINUTE, Settings
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.domain.outbox import record
from authsvc.models import ApiKey as Row
from authsvc.models import User, table

PREFIX = "ask_"
PURPOSE = "api key"  # of the tag
STORED = "stored api key"  # of what lies in SQL
MOST = 50  # that a person may have
DEFAULT_SCOPES = (scopes.FORWARD_AUTH,)
SHORTEST_LIFE, LONGEST_LIFE = MINUTE, 3650 * DAY
USED_EVERY = MINUTE  # seconds between two writes of `used_at`

FIND = (
    select(
        Row.hash, Row.scopes, Row.created_at, Row.expires_at, Row.used_at, User.id, User.email, User.name, User.roles
    )
    .join(User, User.id == Row.user_id)
    .where(
        Row.id == bindparam("key_id"), Row.revoked_at.is_(None), User.disabled_at.is_(None), User.delete_at.is_(None)
    )
)
USED = (
    update(table(Row))
    .where(
        table(Row).c.id == bindparam("key_id"),
        or_(table(Row).c.used_at.is_(None), table(Row).c.used_at <= bindparam("before")),
    )
    .values(used_at=bindparam("now"))
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its owner sees it. Times are unix seconds; without `expires` it is good until it is revoked."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created: int
    expires: int | None
    used: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """Whose key somebody has shown, as things are now, and what it allows."""

    id: str
    scopes: tuple[str, ...]
    created: int
    expires: int | None
    user: str
    email: str
    name: str
    roles: tuple[str, ...]


class ApiKeys:
    def __init__(self, db: Database, keyring: Keyring, settings: Settings, clock: Clock) -> None:
        self._db = db
        self._keyring = keyring
        self._clock = clock
        self.scopes = (*DEFAULT_SCOPES, *settings.scopes)  # that a key may have

    def create(
        self, user_id: str, name: str, *, wanted: tuple[str, ...] | None = None, life: int | None = None
    ) -> tuple[ApiKey, str]:
        """A new key, for `life` seconds or for good, and its text, which is shown this once. Raises InvalidFields or
        TooMany."""
        self._check(name, wanted, life)
        token, now = new_token(), int(self._clock())
        expires = now + life if life else None
        key = ApiKey(token.sid, name, wanted or DEFAULT_SCOPES, now, expires, None)
        row = {
            "id": key.id, "hash": self._keyring.tag(STORED, _bound(token)), "user_id": user_id, "name": name,
            "scopes": list(key.scopes), "created_at": now, "expires_at": expires,
        }  # fmt: skip
        with self._db.transaction() as sql:
            sql.execute(select(User.id).where(User.id == user_id).with_for_update())
            if _count(sql, user_id, now) >= MOST:
                raise TooMany("You have as many API keys as one can have. Revoke one first.")
            sql.execute(insert(table(Row)), row)
            record(sql, [Fact(events.API_KEY_CREATED, user_id, now, data={"key": key.id, "name": name})])
        return key, PREFIX + write_token(self._keyring, token, PURPOSE)

    def of_user(self, user_id: str) -> list[ApiKey]:
        """Those that are not revoked, newest first."""
        own = select(Row).where(Row.user_id == user_id, Row.revoked_at.is_(None))
        with self._db.reading() as sql:
            return [_listed(row) for row in sql.scalars(own.order_by(Row.created_at.desc(), Row.id))]

    def revoke(self, user_id: str, key_id: str) -> None:
        """It is refused from now on. Raises NotFound."""
        with self._db.transaction() as sql:
            if not _revoke(sql, int(self._clock()), Row.user_id == user_id, Row.id == key_id):
                raise NotFound("There is no such API key.")

    def shown(self, text: str) -> Shown:
        """Whose key this is; counts as its use. Raises TokenRefused or StorageDown."""
        token = read_token(self._keyring, text.removeprefix(PREFIX), PURPOSE)
        if token is None:
            raise TokenRefused("malformed")
        now = int(self._clock())
        with self._db.reading() as sql:
            row = sql.execute(FIND, {"key_id": token.sid}).one_or_none()
        if row is None or not self._keyring.accepts(STORED, _bound(token), row.hash):
            raise TokenRefused("revoked")
        if row.expires_at is not None and row.expires_at <= now:
            raise TokenRefused("expired")
        self._note_use(token.sid, row, now)
        return Shown(
            token.sid, tuple(row.scopes), row.created_at, row.expires_at, row.id, row.email, row.name, tuple(row.roles)
        )

    def _note_use(self, key_id: str, row: SqlRow[Any], now: int) -> None:
        if row.used_at is not None and now - row.used_at < USED_EVERY:
            return
        with suppress(StorageDown), self._db.transaction() as sql:  # it is good all the same
            sql.execute(USED, {"key_id": key_id, "before": now - USED_EVERY, "now": now})

    def _check(self, name: str, wanted: tuple[str, ...] | None, life: int | None) -> None:
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise InvalidFields(FieldError("name", "invalid", "Give a name of at most 100 printable characters."))
        if wanted is not None and not (wanted and set(wanted) <= set(self.scopes)):
            raise InvalidFields(FieldError("scopes", "unknown_scope", "Give scopes that an API key can have."))
        if life is not None and not SHORTEST_LIFE <= life <= LONGEST_LIFE:
            raise InvalidFields(FieldError("expires_in", "invalid", "A key lives from a minute to ten years."))


def revoke_all(sql: Sql, user_id: str, now: int) -> None:
    """Revoke all keys of a user in a larger use case: somebody else may have had their account."""
    _revoke(sql, now, Row.user_id == user_id)


def _revoke(sql: Sql, now: int, *conditions: Any) -> bool:
    revoking = update(Row).where(*conditions, Row.revoked_at.is_(None)).values(revoked_at=now)
    revoked = sql.execute(revoking.returning(Row.id, Row.user_id, Row.name)).all()
    record(
        sql, [Fact(events.API_KEY_REVOKED, user, now, data={"key": key, "name": name}) for key, user, name in revoked]
    )
    return bool(revoked)


def _count(sql: Sql, user_id: str, now: int) -> int:
    alive = (Row.user_id == user_id, Row.revoked_at.is_(None), or_(Row.expires_at.is_(None), Row.expires_at > now))
    return sql.scalar(select(func.count()).select_from(Row).where(*alive)) or 0


def _listed(row: Row) -> ApiKey:
    return ApiKey(row.id, row.name, tuple(row.scopes), row.created_at, row.expires_at, row.used_at)


def _bound(token: Token) -> bytes:
    return token.sid.encode() + token.secret
