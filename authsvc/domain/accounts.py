"""Accounts: who may log in, under which email and with which roles."""

import unicodedata
from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import ColumnElement, bindparam, func, select, update
from sqlalchemy.exc import IntegrityError

from authsvc.core import events
from authsvc.core.crypto import new_id
from authsvc.core.errors import EmailTaken, FieldError, InvalidFields, NotFound
from authsvc.core.events import Fact
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.domain.outbox import Outbox, record
from authsvc.domain.sessions import Ending, Sessions
from authsvc.models import Event, User


@dataclass(frozen=True, slots=True)
class Account:
    id: str
    email: str
    name: str
    roles: tuple[str, ...]
    created: int
    disabled: int | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login compares with. `epoch` is read with the password hash: see Sessions.create."""

    user_id: str
    password: str
    epoch: int
    disabled: bool


CREDENTIALS = select(User.id, User.password, User.epoch, User.disabled_at).where(User.email_key == bindparam("key"))


class Accounts:
    def __init__(self, db: Database, sessions: Sessions, outbox: Outbox, clock: Clock) -> None:
        self._db = db
        self._sessions = sessions
        self._outbox = outbox
        self._clock = clock

    def create(self, email: str, password_hash: str, *, name: str = "", roles: tuple[str, ...] = ()) -> Account:
        """A verified account. Raises EmailTaken or InvalidFields."""
        user = User(
            id=new_id(), email=valid_email(email), email_key=email_key(email), name=valid_name(name),
            roles=valid_roles(roles), password=password_hash, created_at=int(self._clock()), disabled_at=None,
        )  # fmt: skip
        try:
            with self._db.transaction() as sql:
                sql.add(user)
                sql.flush()
                record(sql, [Fact(events.USER_CREATED, user.id, user.created_at)])
        except IntegrityError:
            raise EmailTaken from None
        return _account(user)

    def credentials(self, email: str) -> Credentials | None:
        with self._db.reading() as sql:
            row = sql.execute(CREDENTIALS, {"key": email_key(email)}).one_or_none()
        return Credentials(row.id, row.password, row.epoch, row.disabled_at is not None) if row else None

    def rehashed(self, user_id: str, old: str, new: str) -> None:
        """Store the same password under newer parameters, unless it was changed meanwhile."""
        with self._db.transaction() as sql:
            sql.execute(update(User).where(User.id == user_id, User.password == old).values(password=new))

    def failed(self, email_pseudonym: str, ip: str) -> None:
        """Note a failed login. The email is kept as a pseudonym: people type passwords into the wrong field."""
        with self._db.transaction() as sql:
            record(sql, [Fact(events.LOGIN_FAILED, None, int(self._clock()))], ip=ip, account=email_pseudonym)

    def failures(self, since: int, *, account: str | None = None, ip: str | None = None) -> int:
        """How many logins have failed since a unix second, for an account's pseudonym, an address, or both."""
        wanted = [Event.name == events.LOGIN_FAILED, Event.at > since]
        wanted += [Event.account == account] if account else []
        wanted += [Event.ip == ip] if ip else []
        with self._db.reading() as sql:
            return sql.scalar(select(func.count()).select_from(Event).where(*wanted)) or 0

    def all(self) -> list[Account]:
        with self._db.reading() as sql:
            return [_account(user) for user in sql.scalars(select(User).order_by(User.email_key))]

    def nobody(self) -> bool:
        """Whether there is no account yet."""
        with self._db.reading() as sql:
            return sql.scalar(select(User.id).limit(1)) is None

    def get(self, email: str) -> Account:
        """Raises NotFound."""
        with self._db.reading() as sql:
            user = sql.scalar(select(User).where(_has_email(email)))
        if user is None:
            raise NotFound("There is no account with this email.")
        return _account(user)

    def disable(self, email: str) -> Ending:
        """Let an account in no more, and end all its sessions. Raises NotFound."""
        user_id, now = self.get(email).id, int(self._clock())
        with self._db.transaction() as sql:
            facts, earlier = self._sessions.end_all_within(sql, user_id)
            sql.execute(update(User).where(User.id == user_id, User.disabled_at.is_(None)).values(disabled_at=now))
            facts += record(sql, [Fact(events.ACCOUNT_CHANGED, user_id, now, data={"disabled": True})])
        return self._sessions.delivered(facts, earlier)

    def enable(self, email: str) -> None:
        user_id, now = self.get(email).id, int(self._clock())
        with self._db.transaction() as sql:
            sql.execute(update(User).where(User.id == user_id).values(disabled_at=None))
            record(sql, [Fact(events.ACCOUNT_CHANGED, user_id, now, data={"disabled": False})])

    def set_roles(self, email: str, roles: tuple[str, ...]) -> Account:
        """Raises NotFound or InvalidFields. Sessions go on, with the new roles."""
        wanted, account = valid_roles(roles), self.get(email)
        with self._db.transaction() as sql:
            sql.execute(update(User).where(User.id == account.id).values(roles=wanted))
            fact = Fact(events.ROLES_CHANGED, account.id, int(self._clock()), data={"roles": wanted})
            facts = record(sql, [fact])
        self._sessions.refresh(account.id)
        self._outbox.deliver(facts)
        return self.get(email)


def valid_email(text: str) -> str:
    """The address with its domain in lower case. Raises InvalidFields."""
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        raise InvalidFields(FieldError("email", "invalid", "This is not an email address.")) from None


def email_key(text: str) -> str:
    """What makes two spellings the same address. Takes any text, for a login may send any: one that is no address gets
    a key that none has."""
    try:
        text = validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError:
        text = " " + text.encode("utf-8", "replace").decode().replace("\0", "")
    return unicodedata.normalize("NFKC", text).casefold()


def valid_name(name: str) -> str:
    if len(name) > 200 or any(unicodedata.category(char).startswith("C") for char in name):
        raise InvalidFields(
            FieldError("name", "invalid", "A name has at most 200 characters, and no control characters.")
        )
    return name.strip()


def valid_roles(roles: tuple[str, ...]) -> list[str]:
    for role in roles:
        if (
            not role
            or len(role) > 64
            or not all(char.isascii() and (char.isalnum() or char in "-_.:") for char in role)
        ):
            message = "A role has up to 64 letters, digits and -_.: and nothing else."
            raise InvalidFields(FieldError("roles", "invalid", message))
    return sorted(set(roles))


def _has_email(email: str) -> ColumnElement[bool]:
    return User.email_key == email_key(email)


def _account(user: User) -> Account:
    return Account(user.id, user.email, user.name, tuple(user.roles), user.created_at, user.disabled_at)
