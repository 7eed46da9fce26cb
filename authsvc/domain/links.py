"""What a mail carries to prove that its recipient has it: a link, and for some purposes a code of six digits.

Both are made from the row's id with the installation's secret: a repeated mail is the same mail, and the database alone
opens nothing. Each row is good once. A code lives ten minutes and five tries, and is bound to the `flow` that it was
asked for in (OWASP ASVS 6.5.5, 6.6.2, 6.6.3). Whoever guesses codes for somebody else's address has twenty tries a day;
the link still works then.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, insert, select, update
from sqlalchemy.orm import Session as Sql

from authsvc.core.crypto import Keyring, b64url, equal, new_id, unb64url
from authsvc.core.errors import TokenInvalid
from authsvc.core.settings import DAY, HOUR, MINUTE
from authsvc.db import Database
from authsvc.models import Link as Row
from authsvc.models import User, table

VERIFY = "verify"  # a registration's email
CHANGE_EMAIL = "change_email"  # the new address of an account
RESET = "reset"  # a forgotten password
NOT_ME = "not_me"  # "this login wasn't me"
KEEP = "keep"  # an account that is to be deleted is kept

LIFE = {VERIFY: DAY, CHANGE_EMAIL: DAY, RESET: HOUR, NOT_ME: 30 * DAY, KEEP: 60 * DAY}
WITH_CODE = frozenset({VERIFY, CHANGE_EMAIL, RESET})
REPLACED = frozenset({CHANGE_EMAIL, RESET, KEEP})
CODE_LIFE = 10 * MINUTE
CODE_TRIES = 5
CODE_TRIES_A_DAY = 20  # for one address, whatever the code is for
ID_BYTES = 16
CODES = 10**6


@dataclass(frozen=True, slots=True)
class Link:
    id: str
    purpose: str
    subject: str
    data: dict[str, Any]
    created: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody presents: the token of a link, or a code with the flow that it was asked for in."""

    token: str = ""
    flow: str = ""
    code: str = ""


def add(
    sql: Sql, purpose: str, subject: str, now: float, data: dict[str, Any] | None = None, *, account: str | None = None
) -> str:
    """Write a link in the caller's transaction; returns its id, which is the flow. Where one mail replaces another, the
    older links of the same subject are void. `account` is the pseudonym of the address, for links with a code."""
    if purpose in REPLACED:
        void(sql, subject, now, purpose)
    link_id = new_id()
    row = {
        "id": link_id, "purpose": purpose, "subject": subject, "account": account, "data": data or {},
        "created_at": int(now), "expires_at": int(now) + LIFE[purpose],
    }  # fmt: skip
    sql.execute(insert(table(Row)), row)
    return link_id


def void(sql: Sql, subject: str, now: float, *purposes: str) -> None:
    """Close what is still open."""
    own = update(Row).where(Row.subject == subject, Row.purpose.in_(purposes), Row.used_at.is_(None))
    sql.execute(own.values(used_at=int(now)))


def subject_of(link_id: str) -> Select[tuple[User]]:
    """The user whom a link is about."""
    return select(User).join(Row, Row.subject == User.id).where(Row.id == link_id)


def token(keyring: Keyring, link_id: str, purpose: str) -> str:
    """The `token` of the link in a mail: the row's id and a tag over it, 46 characters."""
    raw = _raw(link_id)
    return b64url(raw + keyring.tag(f"link {purpose}", raw))


def code(keyring: Keyring, link_id: str, purpose: str) -> str:
    """The six digits in a mail."""
    return f"{int.from_bytes(keyring.tag(f'code {purpose}', _raw(link_id)), 'big') % CODES:06}"


class Links:
    """A proof is checked first (`opened_by`), and its link used up in the transaction of what it was for (`use`)."""

    def __init__(self, db: Database, keyring: Keyring) -> None:
        self._db = db
        self._keyring = keyring

    def peek(self, token: str, now: float, *purposes: str) -> Link:
        """The link of a token, which stays open: looking uses nothing up. Raises TokenInvalid."""
        link_id = self._id_in(token, purposes)
        with self._db.reading() as sql:
            row = sql.scalar(select(Row).where(*_open(link_id, now, purposes)))
        if row is None:
            raise TokenInvalid
        return _link(row)

    def opened_by(self, proof: Proof, now: float, *purposes: str) -> str:
        """The id of the link that a proof opens. A code that is wrong costs a try. Raises TokenInvalid."""
        if proof.token:
            return self._id_in(proof.token, purposes)
        if not self._is_code(proof, now, purposes):
            raise TokenInvalid
        return proof.flow

    @staticmethod
    def use(sql: Sql, link_id: str, now: float, *purposes: str) -> Link:
        """Use a link up in the caller's transaction. Raises TokenInvalid if it is not open any more."""
        using = update(Row).where(*_open(link_id, now, purposes)).values(used_at=int(now))
        row = sql.scalar(using.returning(Row))
        if row is None:
            raise TokenInvalid
        return _link(row)

    def _id_in(self, token: str, purposes: tuple[str, ...]) -> str:
        raw = unb64url(token + "==") or b""
        link_id, tag = raw[:ID_BYTES], raw[ID_BYTES:]
        if b64url(raw) != token or not any(self._keyring.accepts(f"link {each}", link_id, tag) for each in purposes):
            raise TokenInvalid
        return b64url(link_id)

    def _is_code(self, proof: Proof, now: float, purposes: tuple[str, ...]) -> bool:
        young = (Row.created_at > int(now) - CODE_LIFE, Row.tries < CODE_TRIES, Row.purpose.in_(WITH_CODE))
        trying = update(Row).where(*_open(proof.flow, now, purposes), *young).values(tries=Row.tries + 1)
        with self._db.transaction() as sql:
            if _tries_today(sql, proof.flow, now) >= CODE_TRIES_A_DAY:
                return False
            purpose = sql.scalar(trying.returning(Row.purpose))
        if purpose is None:
            return False
        codes = (code(keyring, proof.flow, purpose) for keyring in self._keyring.each())
        return any(equal(each.encode(), proof.code.encode()) for each in codes)


def _tries_today(sql: Sql, flow: str, now: float) -> int:
    """How many codes were tried for the address of a flow."""
    account = select(Row.account).where(Row.id == flow).scalar_subquery()
    tried = select(func.sum(Row.tries)).where(Row.account == account, Row.created_at > int(now) - DAY)
    return sql.scalar(tried) or 0


def _open(link_id: str, now: float, purposes: tuple[str, ...]) -> tuple[ColumnElement[bool], ...]:
    return Row.id == link_id, Row.purpose.in_(purposes), Row.used_at.is_(None), Row.expires_at > int(now)


def _raw(link_id: str) -> bytes:
    return unb64url(link_id + "==") or b""


def _link(row: Row) -> Link:
    return Link(row.id, row.purpose, row.subject, row.data, row.created_at)
