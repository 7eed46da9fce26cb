"""Authorization codes (RFC 6749, 4.1.2): 256 random bits, of which sha256 is stored, good once and for a minute."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Sql

from authsvc.core.errors import ClientRefused
from authsvc.core.session import Session
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.models import Code as Row
from authsvc.models import table

LIFE = 60  # seconds

CODES = table(Row)
NEW = insert(CODES)
FIND = select(CODES).where(CODES.c.hash == bindparam("of"))
USE = (
    update(CODES)
    .where(CODES.c.hash == bindparam("of"), CODES.c.used_at.is_(None), CODES.c.expires_at > bindparam("now"))
    .values(used_at=bindparam("now"), grant_id=bindparam("grant"))
    .returning(CODES.c.hash)
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks a user for, once all of it is known to be in order. `scopes` are in the order of the request;
    `challenge` is that of PKCE, S256 (RFC 7636, 4.2)."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    audience: str
    challenge: str
    nonce: str | None


@dataclass(frozen=True, slots=True)
class Code:
    """A code that was presented. `grant` is what came of it, if it was used before."""

    hash: bytes
    client_id: str
    sid: str
    redirect_uri: str
    scope: str
    audience: str
    nonce: str | None
    challenge: str
    expires: int
    grant: str | None


class Codes:
    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def issue(self, own: Session, request: Request) -> str:
        """A code for what the owner of a session lets a client have. Raises ClientRefused if it was just deleted."""
        code, now = secrets.token_urlsafe(32), int(self._clock())
        row = {
            "hash": digest(code), "client_id": request.client_id, "user_id": own.user, "sid": own.sid,
            "redirect_uri": request.redirect_uri, "scope": " ".join(request.scopes), "audience": request.audience,
            "nonce": request.nonce, "challenge": request.challenge, "created_at": now, "expires_at": now + LIFE,
        }  # fmt: skip
        try:
            with self._db.transaction() as sql:
                sql.execute(NEW, row)
        except IntegrityError:
            raise ClientRefused from None
        return code

    def find(self, code: str) -> Code | None:
        """What a code stands for, used or not, for as long as it is remembered."""
        with self._db.reading() as sql:
            return look(sql, digest(code))

    @staticmethod
    def use(sql: Sql, code: Code, grant: str, now: int) -> bool:
        """Use a code up in the caller's transaction; of many at once, one is told True."""
        return sql.scalar(USE, {"of": code.hash, "now": now, "grant": grant}) is not None


def look(sql: Sql, hashed: bytes) -> Code | None:
    row: Any = sql.execute(FIND, {"of": hashed}).one_or_none()
    return row and Code(
        row.hash, row.client_id, row.sid, row.redirect_uri, row.scope, row.audience, row.nonce, row.challenge,
        row.expires_at, row.grant_id,
    )  # fmt: skip


def digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()
