"""The keys that sign tokens: published before they are used, then signing, then published until nothing that they have
signed is valid any more. Private keys lie in SQL, sealed by the installation's secret.

Whoever needs a key reads them all and keeps them for some seconds. Whoever finds that a new one is due makes it: there
is nothing to set up, and no process on which it depends.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session as Sql

from authsvc.core import events, jwt
from authsvc.core.crypto import Keyring
from authsvc.core.errors import NotFound, StorageDown, Unavailable
from authsvc.core.events import Fact
from authsvc.core.jwt import PublicKey, SigningKey
from authsvc.core.settings import DAY, Settings
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.domain.outbox import record
from authsvc.models import SigningKey as Row
from authsvc.models import table

LONGEST_LIFE = 360  # seconds for which anything that is signed may be valid, clocks that differ included
KEPT_AT_MOST = 10  # seconds for which a process believes what it has read
FORGOTTEN_AFTER = 400 * DAY  # until then a logout still knows the ID tokens that a key has signed
PURPOSE = "signing key"
NEW_KEY = insert(table(Row))

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """A key as operators see it. Times are unix seconds; `published_until` is None as long as it is not replaced."""

    kid: str
    alg: str
    created: int
    signs: int
    revoked: int | None
    published_until: int | None


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read: the key that signs, those that are published, and all that were never revoked."""

    read: float  # when, in unix seconds
    signing: SigningKey
    published: Mapping[str, PublicKey]
    ever: Mapping[str, PublicKey]


class Keys:
    def __init__(self, db: Database, keyring: Keyring, settings: Settings, clock: Clock) -> None:
        self._db = db
        self._keyring = keyring
        self._settings = settings
        self._clock = clock
        self._kept = min(KEPT_AT_MOST, settings.jwks_max_age / 4)
        self._known: _Known | None = None

    # -- in use ----------------------------------------------------------------------------------------------------

    def signing(self) -> SigningKey:
        """The key that signs now. Raises StorageDown if none was ever read."""
        return self._now().signing

    def public(self, *, ever: bool = False) -> Mapping[str, PublicKey]:
        """The keys by which tokens are believed; with `ever` also those that signed long ago. Raises StorageDown."""
        known = self._now()
        return known.ever if ever else known.published

    def jwks(self) -> dict[str, Any]:
        """The published keys (RFC 7517, 5)."""
        return jwt.jwks(self.public())

    def _now(self) -> _Known:
        known = self._known
        if known is not None and abs(self._clock() - known.read) < self._kept:
            return known
        try:
            self._known = self._read()
        except StorageDown:
            if known is None:
                raise
            return known  # while SQL is away, what was good a moment ago is
        return self._known

    def _read(self) -> _Known:
        now = self._clock()
        with self._db.reading() as sql:
            keys = _all(sql)
        if self._due(keys, now) is not None:
            keys = self._make(lambda found: self._due(found, now))
        signing = self._opened(_current(keys, now))
        if signing is None:  # the secret that has sealed it is gone
            keys = self._make(lambda found: None if self._opened(_current(found, now)) else int(now))
            signing = self._opened(_current(keys, now))
        if signing is None:
            raise Unavailable("There is no key to sign with.")
        return _Known(
            now,
            signing,
            {key.kid: _public(key) for key in keys if self._is_published(keys, key, now)},
            {key.kid: _public(key) for key in keys if key.revoked_at is None},
        )

    # -- rotation --------------------------------------------------------------------------------------------------

    def listed(self) -> list[Key]:
        """All keys, newest first."""
        with self._db.reading() as sql:
            keys = _all(sql)
        return [
            Key(key.kid, key.alg, key.created_at, key.signs_at, key.revoked_at, self._published_until(keys, key))
            for key in keys
        ]

    def rotate(self) -> Key:
        """Publish the next key now; it signs once everybody can have it."""
        signs_at = int(self._clock()) + self._ahead
        self._make(lambda _: signs_at)
        return self.listed()[0]

    def revoke(self, kid: str) -> None:
        """An emergency: what this key has signed is refused from now on, and if it was signing a new one does at once.
        Other processes follow within KEPT_AT_MOST seconds. Raises NotFound."""
        now = int(self._clock())
        with self._db.transaction() as sql:
            keys = _locked(sql)
            key = next((key for key in keys if key.kid == kid and key.revoked_at is None), None)
            if key is None:
                raise NotFound("There is no such key, or it is revoked already.")
            if key is _current(keys, now):
                sql.execute(NEW_KEY, self._new(keys, now, now))
            key.revoked_at = now
            record(sql, [Fact(events.KEY_REVOKED, None, now, data={"kid": kid})])
        self._known = None

    def clean_up(self) -> int:
        """Forget keys whose time is long over; returns how many."""
        now = self._clock()
        with self._db.transaction() as sql:
            keys = _all(sql)
            over = [key for key in keys if (self._published_until(keys, key) or now) < now - FORGOTTEN_AFTER]
            for key in over:
                sql.delete(key)
        return len(over)

    def _make(self, when: Callable[[list[Row]], int | None]) -> list[Row]:
        """Add a key that signs from the time that `when` says, if it says one. Of many processes at once one does, and
        the others find that it is there."""
        with self._db.transaction() as sql:
            keys = _locked(sql)
            signs_at = when(keys)
            if signs_at is not None:
                sql.execute(NEW_KEY, self._new(keys, int(self._clock()), signs_at))
                keys = _all(sql)
        self._known = None
        return keys

    def _new(self, keys: list[Row], now: int, signs_at: int) -> dict[str, Any]:
        key = jwt.generate(self._settings.signing_alg)
        private = json.dumps(key.jwk()).encode()
        log.info("a new key is published", extra={"kid": key.kid, "alg": key.alg, "signs_at": signs_at})
        return {
            "kid": key.kid, "number": keys[0].number + 1 if keys else 1, "alg": key.alg, "public": key.public.jwk(),
            "created_at": now, "signs_at": signs_at, "private": self._keyring.seal(PURPOSE, private),
        }  # fmt: skip

    def _opened(self, row: Row | None) -> SigningKey | None:
        private = self._keyring.unseal(PURPOSE, row.private) if row else None
        return jwt.signing_key(json.loads(private)) if private else None

    def _due(self, keys: list[Row], now: float) -> int | None:
        """When the next key is to sign, if it has to be made now: at once where there is none."""
        if _current(keys, now) is None:
            return int(now)
        newest = next(key for key in keys if key.revoked_at is None)
        due = newest.signs_at + self._settings.key_rotation
        return max(due, int(now) + self._ahead) if due - self._ahead <= now else None

    @property
    def _ahead(self) -> int:
        """Seconds from publication to first use: whoever may keep old keys for so long has fetched this one before."""
        return 2 * self._settings.jwks_max_age

    def _is_published(self, keys: list[Row], key: Row, now: float) -> bool:
        until = self._published_until(keys, key)
        return key.revoked_at is None and (until is None or now < until)

    def _published_until(self, keys: list[Row], key: Row) -> int | None:
        if key.revoked_at is not None:
            return key.revoked_at
        later = [other.signs_at for other in keys if other.revoked_at is None and other.number > key.number]
        return min(later) + LONGEST_LIFE + KEPT_AT_MOST if later else None


def _all(sql: Sql) -> list[Row]:
    """Newest first."""
    return list(sql.scalars(select(Row).order_by(Row.number.desc())))


def _locked(sql: Sql) -> list[Row]:
    """The same, and nobody else adds one until the transaction is over."""
    if sql.get_bind().dialect.name == "postgresql":  # SQLite's writers take turns anyway
        sql.execute(text("LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE"))
    return _all(sql)


def _current(keys: list[Row], now: float) -> Row | None:
    return next((key for key in keys if key.revoked_at is None and key.signs_at <= now), None)


def _public(key: Row) -> PublicKey:
    return jwt.load_jwks({"keys": [key.public]})[key.kid]
