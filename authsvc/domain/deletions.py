"""The end of an account: asked for by its owner, taken back within a while, carried out by the clean-up."""

from sqlalchemy import delete, select, update

from authsvc.core import events
from authsvc.core.events import Fact
from authsvc.core.settings import Settings
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.domain import links, mails
from authsvc.domain.accounts import Accounts
from authsvc.domain.jobs import Jobs
from authsvc.domain.links import Links, Proof
from authsvc.domain.mails import Mail
from authsvc.domain.outbox import record
from authsvc.domain.sessions import Ending, Sessions
from authsvc.models import Event, Job, Link, User

ERASED_AT_ONCE = 20


class Deletions:
    def __init__(
        self, db: Database, accounts: Accounts, sessions: Sessions, jobs: Jobs, links_: Links, settings: Settings,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._db = db
        self._accounts = accounts
        self._sessions = sessions
        self._jobs = jobs
        self._links = links_
        self._settings = settings
        self._clock = clock

    def ask(self, user_id: str) -> Ending:
        """End all sessions of an account, and erase it after a while unless its owner takes that back."""
        now = int(self._clock())
        due = now + self._settings.delete_after
        with self._db.transaction() as sql:
            facts, earlier = self._sessions.end_all_within(sql, user_id)
            user = sql.get_one(User, user_id)
            user.delete_at = due
            link = links.add(sql, links.KEEP, user_id, now)
            told = {"name": user.name, "at": now, "due": due}
            mail = Mail(mails.ACCOUNT_DELETION, user.email, user.locale, (link, links.KEEP), told)
            mails.add(sql, mail, now, user=user_id)
            facts += record(sql, [Fact(events.ACCOUNT_CHANGED, user_id, now, data={"delete_at": due})])
        self._jobs.wake()
        return self._sessions.delivered(facts, earlier)

    def due(self, user_id: str) -> int | None:
        """When an account is going to be erased, in unix seconds; None: it stays."""
        with self._db.reading() as sql:
            return sql.scalar(select(User.delete_at).where(User.id == user_id))

    def keep(self, user_id: str) -> None:
        """Take the deletion of an account back."""
        now = int(self._clock())
        with self._db.transaction() as sql:
            sql.execute(update(User).where(User.id == user_id).values(delete_at=None))
            links.void(sql, user_id, now, links.KEEP)
            facts = record(sql, [Fact(events.ACCOUNT_CHANGED, user_id, now, data={"delete_at": None})])
        self._accounts.changed(user_id, facts)

    def keep_by_link(self, token: str) -> None:
        """The same by the link of the mail. Raises TokenInvalid."""
        link_id = self._links.opened_by(Proof(token), self._clock(), links.KEEP)
        with self._db.transaction() as sql:
            link = Links.use(sql, link_id, self._clock(), links.KEEP)
        self.keep(link.subject)

    def erase_due(self) -> int:
        """Erase accounts whose time has come, a few of them; returns how many."""
        with self._db.reading() as sql:
            due = sql.scalars(select(User.id).where(User.delete_at <= int(self._clock())).limit(ERASED_AT_ONCE)).all()
        return sum(self.erase(user_id) for user_id in due)

    def erase(self, user_id: str) -> bool:
        """Everything about an account goes, if it is due: its owner may have taken that back a moment ago. What stays
        is that there was one: its opaque id in the audit log."""
        now = int(self._clock())
        with self._db.transaction() as sql:
            user = sql.scalar(select(User).where(User.id == user_id, User.delete_at <= now).with_for_update())
            if user is None:
                return False
            facts, earlier = self._sessions.end_all_within(sql, user_id)
            told = {"name": user.name, "at": now}
            sql.execute(update(Event).where(Event.user_id == user_id).values(ip=None, data={}))
            sql.execute(delete(Job).where(Job.user_id == user_id))
            sql.execute(delete(Link).where(Link.subject == user_id))
            sql.delete(user)
            mails.add(sql, Mail(mails.ACCOUNT_DELETED, user.email, user.locale, None, told), now)
            facts += record(sql, [Fact(events.USER_DELETED, user_id, now)])
        self._jobs.wake()
        self._sessions.delivered(facts, earlier)
        return True
