"""Accounts: who may log in, under which email and with which roles."""

import unicodedata
from dataclasses import dataclass
from typing import Any, NamedTuple

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import ColumnElement, String, bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Sql

from authsvc.core import events
from authsvc.core.crypto import new_id
from authsvc.core.errors import EmailTaken, FieldError, InvalidFields, NotFound, TokenInvalid
from authsvc.core.events import Fact
from authsvc.core.settings import HOUR
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.domain import api_keys, links, mails
from authsvc.domain.jobs import Jobs
from authsvc.domain.links import Link
from authsvc.domain.mails import Mail
from authsvc.domain.outbox import Outbox, count, record
from authsvc.domain.sessions import Ending, Sessions
from authsvc.models import Registration, User, table


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


class Known(NamedTuple):
    """What is known of an email: the account's credentials, or the password hash of its newest pending registration."""

    account: Credentials | None
    pending: str | None


# One statement that finds one row for any email, so that the work is the same for all.
KEY = select(bindparam("key", type_=String).label("key")).subquery()
PENDING = (
    select(Registration.password)
    .where(Registration.email_key == KEY.c.key, Registration.expires_at > bindparam("now"))
    .order_by(Registration.created_at.desc())
    .limit(1)
    .scalar_subquery()
)
KNOWN = select(User.id, User.password, User.epoch, User.disabled_at, PENDING.label("pending")).select_from(
    KEY.outerjoin(table(User), table(User).c.email_key == KEY.c.key)
)


class Accounts:
    def __init__(self, db: Database, sessions: Sessions, outbox: Outbox, jobs: Jobs, clock: Clock) -> None:
        self._db = db
        self._sessions = sessions
        self._outbox = outbox
        self._jobs = jobs
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
        return account_of(user)

    def known(self, email: str) -> Known:
        with self._db.reading() as sql:
            row = sql.execute(KNOWN, {"key": email_key(email), "now": int(self._clock())}).one()
        if row.id is None:
            return Known(None, row.pending)
        return Known(Credentials(row.id, row.password, row.epoch, row.disabled_at is not None), None)

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
        with self._db.reading() as sql:
            return count(sql, events.LOGIN_FAILED, since, account=account, ip=ip)

    def all(self) -> list[Account]:
        with self._db.reading() as sql:
            return [account_of(user) for user in sql.scalars(select(User).order_by(User.email_key))]

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
        return account_of(user)

    def ask_for_email(self, user_id: str, email: str, *, account: str, most: int) -> str:
        """Have a mail sent to the address that is to be the account's; returns the flow that takes its code. If
        somebody has that address already, they are told instead. `account` is the address's pseudonym; it gets `most`
        mails in an hour. Raises InvalidFields."""
        now, flow, email = int(self._clock()), new_id(), valid_email(email)
        with self._db.transaction() as sql:
            asked = count(sql, events.REGISTRATION_ASKED, now - HOUR, account=account)
            record(sql, [Fact(events.REGISTRATION_ASKED, user_id, now)], account=account)
            if asked >= most:
                return flow
            user = sql.get_one(User, user_id)
            owner = sql.scalar(select(User).where(_has_email(email)))
            facts: dict[str, Any] = {"name": user.name, "at": now, "email": email}
            if owner is None or owner.id == user_id:
                flow = links.add(sql, links.CHANGE_EMAIL, user_id, now, {"email": email}, account=account)
                mail = Mail(mails.CHANGE_EMAIL, email, user.locale, (flow, links.CHANGE_EMAIL), facts)
            else:
                mail = Mail(mails.ALREADY_REGISTERED, owner.email, owner.locale, None, {"name": owner.name, "at": now})
            mails.add(sql, mail, now, user=user_id if owner is None else owner.id)
        self._jobs.wake()
        return flow

    def change_email(self, sql: Sql, link: Link) -> list[Fact]:
        """The address of a link becomes that of its account, and the one before is told. Raises EmailTaken."""
        now, email = int(self._clock()), link.data["email"]
        user = sql.get(User, link.subject)
        if user is None or user.disabled_at is not None:
            raise TokenInvalid
        before = user.email
        user.email, user.email_key, user.email_refused_at = email, email_key(email), None
        try:
            sql.flush()
        except IntegrityError:
            raise EmailTaken from None
        links.void(sql, user.id, now, links.RESET, links.NOT_ME)  # they were sent to the address before
        mail = Mail(mails.EMAIL_CHANGED, before, user.locale, None, {"name": user.name, "at": now, "email": email})
        mails.add(sql, mail, now, user=user.id)
        return record(sql, [Fact(events.ACCOUNT_CHANGED, user.id, now, data={"email": True})])

    def speak(self, user_id: str, locale: str) -> None:
        """Have the mails of an account written in another language."""
        with self._db.transaction() as sql:
            sql.execute(update(User).where(User.id == user_id).values(locale=locale))

    def email_refused(self, user_id: str, email: str) -> None:
        """Note that a mail server takes no mail for an account's address, unless it has another by now."""
        refused = update(User).where(User.id == user_id, User.email == email)
        with self._db.transaction() as sql:
            sql.execute(refused.values(email_refused_at=int(self._clock())))

    def changed(self, user_id: str, facts: list[Fact]) -> None:
        """After the commit of a change: bring it into the copies of the user's sessions, and tell everything live."""
        if facts:
            self._sessions.refresh(user_id)
            self._outbox.deliver(facts)
            self._jobs.wake()

    def disable(self, email: str) -> Ending:
        """Let an account in no more, and end all its sessions and API keys. Raises NotFound."""
        user_id, now = self.get(email).id, int(self._clock())
        with self._db.transaction() as sql:
            facts, earlier = self._sessions.end_all_within(sql, user_id)
            sql.execute(update(User).where(User.id == user_id, User.disabled_at.is_(None)).values(disabled_at=now))
            facts += record(sql, [Fact(events.ACCOUNT_CHANGED, user_id, now, data={"disabled": True})])
            api_keys.revoke_all(sql, user_id, now)
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
        self.changed(account.id, facts)
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


def account_of(user: User) -> Account:
    return Account(user.id, user.email, user.name, tuple(user.roles), user.created_at, user.disabled_at)
