"""From a stranger to an account: a pending row with its own password, and the mail that makes it the account's."""

from sqlalchemy import Select, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Sql

from authsvc.core import events
from authsvc.core.crypto import new_id
from authsvc.core.errors import EmailTaken, RateLimited, TokenInvalid
from authsvc.core.events import Fact
from authsvc.core.settings import HOUR, Settings
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.domain import links, mails
from authsvc.domain.accounts import Accounts, email_key, valid_email, valid_name
from authsvc.domain.jobs import Jobs
from authsvc.domain.links import Links
from authsvc.domain.mails import Mail
from authsvc.domain.outbox import count, record
from authsvc.domain.sessions import Origin
from authsvc.models import Registration, User


class Registrations:
    def __init__(self, db: Database, accounts: Accounts, jobs: Jobs, settings: Settings, clock: Clock) -> None:
        self._db = db
        self._accounts = accounts
        self._jobs = jobs
        self._settings = settings
        self._clock = clock

    def check(self, email: str, name: str, ip: str) -> None:
        """Raises InvalidFields, or RateLimited for an address from which too many have registered."""
        valid_email(email), valid_name(name)
        with self._db.reading() as sql:
            if count(sql, events.REGISTRATION_ASKED, self._since(), ip=ip) >= self._settings.register_address_limit:
                raise RateLimited(retry_after=HOUR)

    def register(self, email: str, password_hash: str, *, name: str, locale: str, origin: Origin, account: str) -> str:
        """Have a mail sent, to a new owner or to the one whom the email belongs to; returns the flow that takes the
        code of that mail. Nobody can tell from the answer which it was. `account` is the email's pseudonym."""
        now, flow = int(self._clock()), new_id()
        with self._db.transaction() as sql:
            may_mail = count(sql, events.REGISTRATION_ASKED, self._since(), account=account) < self._settings.mail_limit
            record(sql, [Fact(events.REGISTRATION_ASKED, None, now)], ip=origin.ip, account=account)
            owner = sql.scalar(select(User).where(User.email_key == email_key(email)))
            if may_mail and owner is None:
                pending = Registration(
                    id=new_id(), email=valid_email(email), email_key=email_key(email), name=valid_name(name),
                    password=password_hash, locale=locale, created_at=now, expires_at=now + links.LIFE[links.VERIFY],
                )  # fmt: skip
                sql.add(pending)
                flow = self._mail(sql, pending, origin, account)
            elif may_mail and owner is not None and owner.disabled_at is None:
                facts = {"name": owner.name, "device": origin.device, "ip": origin.ip, "at": now}
                mails.add(sql, Mail(mails.ALREADY_REGISTERED, owner.email, owner.locale, None, facts), now)
        self._jobs.wake()
        return flow

    def remind(self, email: str, origin: Origin, account: str) -> str:
        """The mail once more, for who has shown the password of a pending registration; returns the flow."""
        now = int(self._clock())
        with self._db.transaction() as sql:
            may_mail = count(sql, events.REGISTRATION_ASKED, self._since(), account=account) < self._settings.mail_limit
            record(sql, [Fact(events.REGISTRATION_ASKED, None, now)], ip=origin.ip, account=account)
            pending = sql.scalar(_newest(email, now))
            flow = self._mail(sql, pending, origin, account) if pending and may_mail else new_id()
        self._jobs.wake()
        return flow

    def verify(self, link_id: str) -> None:
        """The email that a link was sent to belongs to whoever uses it: its registration becomes an account, or its
        account has that email from now on. Raises TokenInvalid, EmailTaken."""
        facts: list[Fact] = []
        with self._db.transaction() as sql:
            link = Links.use(sql, link_id, self._clock(), links.VERIFY, links.CHANGE_EMAIL)
            if link.purpose == links.VERIFY:
                self._confirm(sql, link.subject)
            else:
                facts = self._accounts.change_email(sql, link)
        self._accounts.changed(link.subject, facts)

    def _confirm(self, sql: Sql, registration_id: str) -> None:
        """A registration becomes the account, and the others of its email go. Raises TokenInvalid, EmailTaken."""
        pending = sql.get(Registration, registration_id)
        if pending is None:
            raise TokenInvalid
        user = User(
            id=new_id(), email=pending.email, email_key=pending.email_key, name=pending.name, roles=[],
            password=pending.password, locale=pending.locale, created_at=int(self._clock()), disabled_at=None,
        )  # fmt: skip
        sql.execute(delete(Registration).where(Registration.email_key == pending.email_key))
        sql.add(user)
        try:
            sql.flush()
        except IntegrityError:
            raise EmailTaken from None
        record(sql, [Fact(events.USER_CREATED, user.id, user.created_at)])

    def _mail(self, sql: Sql, pending: Registration, origin: Origin, account: str) -> str:
        now = int(self._clock())
        flow = links.add(sql, links.VERIFY, pending.id, now, account=account)
        facts = {"name": pending.name, "device": origin.device, "ip": origin.ip, "at": now}
        mail = Mail(mails.VERIFY_EMAIL, pending.email, pending.locale, (flow, links.VERIFY), facts)
        mails.add(sql, mail, now)
        return flow

    def _since(self) -> int:
        return int(self._clock()) - HOUR


def _newest(email: str, now: int) -> Select[tuple[Registration]]:
    wanted = (Registration.email_key == email_key(email), Registration.expires_at > now)
    return select(Registration).where(*wanted).order_by(Registration.created_at.desc()).limit(1)
