"""A password that is forgotten, reset or changed, and a login that its owner disowns. Hashes come from above."""

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session as Sql

from authsvc.core import events
from authsvc.core.crypto import new_id
from authsvc.core.errors import InvalidCredentials, NotFound, TokenInvalid
from authsvc.core.events import Fact
from authsvc.core.session import Session
from authsvc.core.settings import HOUR, Settings
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.domain import api_keys, links, mails
from authsvc.domain.accounts import email_key
from authsvc.domain.jobs import Jobs
from authsvc.domain.links import Link, Links
from authsvc.domain.mails import Mail
from authsvc.domain.outbox import count, record
from authsvc.domain.sessions import Ending, Sessions
from authsvc.models import User


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose password it is, as far as the rules for passwords want to know."""

    email: str
    name: str


class Passwords:
    def __init__(self, db: Database, sessions: Sessions, jobs: Jobs, settings: Settings, clock: Clock) -> None:
        self._db = db
        self._sessions = sessions
        self._jobs = jobs
        self._settings = settings
        self._clock = clock

    def forgot(self, email: str, *, ip: str, account: str) -> str:
        """Have a mail sent if there is an account; returns the flow that takes its code. The answer and the work are
        the same for any email. `account` is the email's pseudonym."""
        now, flow = int(self._clock()), new_id()
        with self._db.transaction() as sql:
            since = now - HOUR
            may_mail = count(sql, events.PASSWORD_FORGOTTEN, since, account=account) < self._settings.mail_limit
            record(sql, [Fact(events.PASSWORD_FORGOTTEN, None, now)], ip=ip, account=account)
            owner = sql.scalar(select(User).where(User.email_key == email_key(email)))
            if may_mail and owner is not None and owner.disabled_at is None:
                flow = links.add(sql, links.RESET, owner.id, now, account=account)
                mail = Mail(mails.RESET_PASSWORD, owner.email, owner.locale, (flow, links.RESET), _facts(owner, now))
                mails.add(sql, mail, now, user=owner.id)
        self._jobs.wake()
        return flow

    def owner(self, link_id: str) -> Owner:
        """Whose password a link would reset. Raises TokenInvalid."""
        with self._db.reading() as sql:
            user = sql.scalar(links.subject_of(link_id))
        if user is None:
            raise TokenInvalid
        return Owner(user.email, user.name)

    def reset(self, link_id: str, password_hash: str) -> Ending:
        """The new password of the account, and the end of all its sessions and API keys: somebody else may have had
        it. Raises TokenInvalid."""
        now = int(self._clock())
        with self._db.transaction() as sql:
            link = Links.use(sql, link_id, now, links.RESET)
            user = sql.get(User, link.subject)
            if user is None or user.disabled_at is not None:
                raise TokenInvalid
            facts, earlier = self._sessions.end_all_within(sql, user.id)
            sql.execute(update(User).where(User.id == user.id).values(password=password_hash, email_refused_at=None))
            facts += self._changed(sql, user, now)
            api_keys.revoke_all(sql, user.id, now)
        self._jobs.wake()
        return self._sessions.delivered(facts, earlier)

    def change(self, own: Session, old_hash: str, new_hash: str) -> Ending:
        """The new password of who is logged in, and the end of their other sessions; their API keys stay. Raises
        InvalidCredentials if the password was changed meanwhile."""
        now = int(self._clock())
        same = (User.id == own.user, User.password == old_hash, User.disabled_at.is_(None))
        with self._db.transaction() as sql:
            changing = update(User).where(*same).values(password=new_hash, epoch=User.epoch + 1)
            user = sql.scalar(changing.returning(User))
            if user is None:
                raise InvalidCredentials
            facts, earlier = self._sessions.end_others_within(sql, own.user, own.sid)
            facts += self._changed(sql, user, now)
        self._jobs.wake()
        return self._sessions.delivered(facts, earlier)

    def disown(self, link_id: str) -> tuple[Ending, str]:
        """End the session that its owner does not know, and the API keys, which may come from it; returns also the id
        of a link that resets the password. Raises TokenInvalid."""
        now = int(self._clock())
        with self._db.transaction() as sql:
            link: Link = Links.use(sql, link_id, now, links.NOT_ME)
            self._sessions.end_within(sql, link.data["sid"])
            links.void(sql, link.subject, now, links.CHANGE_EMAIL)  # that login may have asked for one
            api_keys.revoke_all(sql, link.subject, now)
            reset = links.add(sql, links.RESET, link.subject, now)
        try:
            return self._sessions.end(link.data["sid"]), reset
        except NotFound:  # it ended so long ago that its row is gone
            return Ending(), reset

    def _changed(self, sql: Sql, user: User, now: int) -> list[Fact]:
        """What goes with every new password: whoever knew the old one may have asked for a reset, or for another
        email, and holds the link."""
        links.void(sql, user.id, now, links.RESET, links.CHANGE_EMAIL)
        mails.add(
            sql, Mail(mails.PASSWORD_CHANGED, user.email, user.locale, None, _facts(user, now)), now, user=user.id
        )
        return record(sql, [Fact(events.ACCOUNT_CHANGED, user.id, now, data={"password": True})])


def _facts(user: User, now: int) -> dict[str, object]:
    return {"name": user.name, "at": now}
