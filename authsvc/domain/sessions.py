"""What can be done with a session: find, save, rotate, list, create, end. SQL first, then Redis (core/store.py)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Row, Select, Update, bindparam, func, insert, not_, select, update
from sqlalchemy.orm import Session as Sql

from authsvc.core import events, store
from authsvc.core.crypto import Token, new_token
from authsvc.core.errors import BadRequest, InvalidCredentials, NotFound
from authsvc.core.events import Fact
from authsvc.core.session import Session, keepable
from authsvc.core.settings import Settings
from authsvc.core.store import Found, Store
from authsvc.db import Database
from authsvc.domain import links, logouts, mails
from authsvc.domain.jobs import Jobs
from authsvc.domain.mails import Mail
from authsvc.domain.outbox import Outbox, fact_of, record
from authsvc.models import Event, User, table
from authsvc.models import Session as Row_


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a login comes from: address, and a name for the device such as `Firefox on Linux`."""

    ip: str
    device: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A session as its user sees it in the list. Times are unix seconds."""

    sid: str
    created: int
    seen: int
    ip: str
    device: str


@dataclass(frozen=True, slots=True)
class Ending:
    """What an end has done: sessions ended, and if Redis was not reached the unix second by which it is final."""

    count: int = 0
    final_by: int | None = None


def find(sid: str | BindParameter[str]) -> Select[Any]:
    """The row of a session that has not ended, with its user."""
    return select(
        Row_.sid, Row_.hash, User.id, User.email, User.name, User.roles, Row_.created_at, Row_.seen_at,
        Row_.authenticated_at, Row_.amr, Row_.remember, Row_.device, Row_.data, Row_.version,
    ).join(User, User.id == Row_.user_id).where(Row_.sid == sid, Row_.ended_at.is_(None))  # fmt: skip


def found(row: Row[Any] | None, settings: Settings) -> Found:
    return Found(session_of(row, settings) if row else None)


def session_of(row: Row[Any], settings: Settings) -> Session:
    """The session in a row of `find`."""
    sid, digest, user, email, name, roles, created, seen, authenticated, amr, remember, device, data, version = row
    idle, absolute = settings.lifetimes(remember=remember)
    return Session(
        sid, digest, user, email, name, tuple(roles), created, seen, authenticated, tuple(amr),
        idle, absolute, device, data, version,
    )  # fmt: skip


EXPIRED_AT_ONCE = 500

# Built once: building a statement costs more than running it.
LOCKED_USER = (
    select(User.epoch, User.disabled_at, User.email, User.name, User.roles, User.locale, User.logged_in_at)
    .where(User.id == bindparam("id"))
    .with_for_update()
)
NEW_SESSION = insert(table(Row_))


class Sessions:
    def __init__(self, db: Database, hot: Store, outbox: Outbox, jobs: Jobs, settings: Settings) -> None:
        self._db = db
        self._store = hot
        self._outbox = outbox
        self._jobs = jobs
        self._settings = settings

    # -- a session in use ------------------------------------------------------------------------------------------

    def load(self, token: Token) -> Session | None:
        """The live session of a token, or None; counts as use. Raises StorageDown when nobody can tell."""
        return self._store.run(store.load(token, self.selecting(token.sid), self._store.clock, self.touching(token)))

    def by_sid(self, sid: str) -> Session | None:
        """The live session of an id that somebody has proved otherwise than by its cookie, or None; does not count as
        use. Raises StorageDown when nobody can tell."""
        return self._store.run(store.load_by_sid(sid, self.selecting(sid), self._store.clock))

    def save(self, session: Session, changed: dict[str, Any], removed: frozenset[str] = frozenset()) -> Session | None:
        """Write some keys of the session's data and remove others; the rest stays as others left it. None: it ended.

        Raises BadRequest for what a session cannot keep: once committed, it could not be read any more.
        """
        if not keepable(changed):
            raise BadRequest("A session cannot keep this value.")

        def update_of(base: Session) -> Callable[[], Found]:
            data = {key: value for key, value in {**base.data, **changed}.items() if key not in removed}
            return self.updating(base, data=data)

        return self._change(session, update_of)

    def rotate(self, session: Session, amr: tuple[str, ...]) -> Token | None:
        """A new token for a session whose user has proved anew who they are; the old one is dead. None: it ended."""
        token = new_token(session.sid)
        proved = {"hash": token.hash, "authenticated_at": int(self._store.clock()), "amr": list(amr)}
        return token if self._change(session, lambda base: self.updating(base, **proved)) else None

    def refresh(self, user_id: str) -> None:
        """Bring a changed name, email or role of a user into the copies of their live sessions."""
        for listed in self.of_user(user_id):
            self._store.run(store.sync(listed.sid, self.selecting(listed.sid), self._store.clock))

    def renew(self, sid: str) -> None:
        """Bring what a larger use case has written to a session into its copy."""
        select_ = self.selecting(sid)
        self._store.run(store.write(sid, select_, select_, self._store.clock))

    def count(self) -> int:
        """How many have not ended; of those that have timed out, some until the next clean-up."""
        with self._db.reading() as sql:
            return sql.scalar(select(func.count()).where(Row_.ended_at.is_(None))) or 0

    def of_user(self, user_id: str) -> list[Listed]:
        """The sessions of a user that are alive, last used first."""
        now = int(self._store.clock())
        wanted = (Row_.sid, Row_.created_at, Row_.seen_at, Row_.ip, Row_.device, Row_.remember)
        with self._db.reading() as sql:
            rows = sql.execute(select(*wanted).where(Row_.user_id == user_id, Row_.ended_at.is_(None))).all()
        alive = []
        for sid, created, seen, ip, device, remember in rows:
            idle, absolute = self._settings.lifetimes(remember=remember)
            if now < seen + idle and now < created + absolute:
                alive.append(Listed(sid, created, seen, ip, device))
        return sorted(alive, key=lambda listed: (listed.seen, listed.created), reverse=True)

    def create(
        self,
        user_id: str,
        epoch: int,
        *,
        amr: tuple[str, ...],
        remember: bool,
        origin: Origin,
        known_device: bool = True,
        replacing: Token | None = None,
    ) -> tuple[Session, Token]:
        """A new session, and the end of the one whose token the same browser still held. `epoch` is the user's at the
        time the password was checked: if all sessions were ended since, the login fails. A login from a device that is
        not known is told to the owner by mail, the very first one of an account excepted."""
        token, now = new_token(), int(self._store.clock())
        idle, absolute = self._settings.lifetimes(remember=remember)
        with self._db.transaction() as sql:
            user = sql.execute(LOCKED_USER, {"id": user_id}).one_or_none()
            if user is None or user.epoch != epoch or user.disabled_at is not None:
                raise InvalidCredentials
            row = {
                "sid": token.sid, "hash": token.hash, "data": {}, "user_id": user_id, "created_at": now, "seen_at": now,
                "authenticated_at": now, "amr": list(amr), "remember": remember, "ip": origin.ip,
                "device": origin.device,
            }  # fmt: skip
            sql.execute(NEW_SESSION, row)
            started = {"ip": origin.ip, "device": origin.device}
            record(sql, [Fact(events.SESSION_STARTED, user_id, now, token.sid, started)], ip=origin.ip)
            replaced = self._end(sql, Row_.sid == replacing.sid, Row_.hash == replacing.hash) if replacing else []
            replaced += self._end_oldest(sql, user_id, now)
            mailed = self._tell_owner(sql, user, user_id, token.sid, origin, known_device=known_device)
        self._outbox.deliver(replaced)  # the start itself is left to the relay: nothing waits for it
        if mailed:
            self._jobs.wake()
        session = Session(
            token.sid, token.hash, user_id, user.email, user.name, tuple(user.roles), now, now, now, amr,
            idle, absolute, origin.device, {}, 0,
        )  # fmt: skip
        return session, token

    def _end_oldest(self, sql: Sql, user_id: str, now: int) -> list[Fact]:
        """End what the user has beyond the limit. Their row is locked: of two logins at once both are counted."""
        most = self._settings.sessions_per_user
        if not most:
            return []
        alive = (Row_.user_id == user_id, Row_.ended_at.is_(None), not_(self._expired(now)))
        newest = select(Row_.sid).where(*alive).order_by(Row_.created_at.desc(), Row_.seen_at.desc(), Row_.sid)
        beyond = sql.scalars(newest.offset(most)).all()
        return self._end(sql, Row_.sid.in_(beyond)) if beyond else []

    def _tell_owner(self, sql: Sql, user: Any, user_id: str, sid: str, origin: Origin, *, known_device: bool) -> bool:
        now = int(self._store.clock())
        if user.logged_in_at is None:
            sql.execute(update(User).where(User.id == user_id).values(logged_in_at=now))
            return False
        if known_device:
            return False
        link = links.add(sql, links.NOT_ME, user_id, now, {"sid": sid})
        facts = {"name": user.name, "device": origin.device, "ip": origin.ip, "at": now}
        mail = Mail(mails.NEW_DEVICE, user.email, user.locale, (link, links.NOT_ME), facts)
        mails.add(sql, mail, now, user=user_id)
        return True

    # -- ends ------------------------------------------------------------------------------------------------------

    def logout(self, token: Token) -> Ending:
        """End the session of a token, also if a rotation has just replaced it: whoever logs out means all of it."""
        return self._end_one(Row_.sid == token.sid)

    def end(self, sid: str, *, user_id: str | None = None) -> Ending:
        """End a session, of that user if one is given. Raises NotFound."""
        conditions = [Row_.sid == sid] + ([Row_.user_id == user_id] if user_id else [])
        ending = self._end_one(*conditions)
        if not ending.count:
            raise NotFound("There is no such session.")
        return ending

    def end_others(self, user_id: str, keep: str) -> Ending:
        """End every session of a user but one."""
        with self._db.transaction() as sql:
            sql.execute(select(User.id).where(User.id == user_id).with_for_update())
            facts, earlier = self.end_others_within(sql, user_id, keep)
        return self.delivered(facts, earlier)

    def end_others_within(self, sql: Sql, user_id: str, keep: str) -> tuple[list[Fact], list[Fact]]:
        """The same inside a larger use case that holds the user's row, and hands both lists to `delivered`."""
        facts = self._end(sql, Row_.user_id == user_id, Row_.sid != keep)
        return facts, self._unconfirmed(sql, user_id, facts)

    def end_within(self, sql: Sql, sid: str) -> None:
        """Note the end of a session in a larger use case, which calls `end` after its commit to make it whole."""
        self._end(sql, Row_.sid == sid)

    def end_expired(self) -> int:
        """Note the end of sessions that have timed out, a portion of them; returns how many."""
        expired = self._expired(int(self._store.clock()))
        portion = select(Row_.sid).where(Row_.ended_at.is_(None), expired).limit(EXPIRED_AT_ONCE)
        with self._db.transaction() as sql:
            facts = self._end(sql, Row_.sid.in_(portion.scalar_subquery()), expired)
        return self.delivered(facts).count

    def _expired(self, now: int) -> ColumnElement[bool]:
        def timed_out(*, remember: bool) -> ColumnElement[bool]:
            idle, absolute = self._settings.lifetimes(remember=remember)
            return (Row_.remember == remember) & ((Row_.seen_at <= now - idle) | (Row_.created_at <= now - absolute))

        return timed_out(remember=False) | timed_out(remember=True)

    def end_all(self, user_id: str) -> Ending:
        """End every session of a user, logins that are under way included. Raises NotFound."""
        with self._db.transaction() as sql:
            facts, earlier = self.end_all_within(sql, user_id)
        return self.delivered(facts, earlier)

    def end_all_within(self, sql: Sql, user_id: str) -> tuple[list[Fact], list[Fact]]:
        """The same inside a larger use case, which hands both lists of facts to `delivered` after its commit."""
        epoch = update(User).where(User.id == user_id).values(epoch=User.epoch + 1).returning(User.id)
        if sql.scalar(epoch) is None:
            raise NotFound("There is no such user.")
        facts = self._end(sql, Row_.user_id == user_id)
        return facts, self._unconfirmed(sql, user_id, facts)

    def _unconfirmed(self, sql: Sql, user_id: str, facts: list[Fact]) -> list[Fact]:
        """Other ends of the user that are not final yet: a process has begun them, and may be dead. Who ends all of a
        user's sessions tells Redis of these too, or copies of them would outlive the answer."""
        since = self._store.clock() - store.FINAL
        wanted = (Event.user_id == user_id, Event.name == events.SESSION_ENDED, Event.at >= int(since))
        own = {fact.id for fact in facts}
        others = sql.scalars(select(Event).where(*wanted, Event.delivered_at.is_(None)).order_by(Event.id))
        return [fact_of(event) for event in others if event.id not in own]

    def _end_one(self, *conditions: ColumnElement[bool]) -> Ending:
        """The whole end, also when the row is ended already: whoever began may have died before Redis heard of it."""
        with self._db.transaction() as sql:
            facts = self._end(sql, *conditions)
            earlier = None if facts else sql.scalar(self._earlier_end(*conditions))
        if earlier is None:
            return self.delivered(facts)
        ending = self.delivered([fact_of(earlier)])
        final = earlier.delivered_at is not None or self._store.clock() > earlier.at + store.FINAL
        return Ending(1) if final else ending

    @staticmethod
    def _earlier_end(*conditions: ColumnElement[bool]) -> Select[tuple[Event]]:
        joined = select(Event).join(Row_, Row_.sid == Event.sid)
        return joined.where(*conditions, Row_.ended_at.is_not(None), Event.name == events.SESSION_ENDED)

    def _end(self, sql: Sql, *conditions: ColumnElement[bool]) -> list[Fact]:
        now = int(self._store.clock())
        statement = update(Row_).where(*conditions, Row_.ended_at.is_(None)).values(ended_at=now)
        ended = sql.execute(statement.returning(Row_.sid, Row_.user_id)).all()
        logouts.tell(sql, self._jobs, [sid for sid, _ in ended], now)
        return record(sql, [Fact(events.SESSION_ENDED, user_id, now, sid) for sid, user_id in ended])

    def delivered(self, facts: list[Fact], earlier: list[Fact] | None = None) -> Ending:
        """Deliver the facts of an end that is committed, and those of earlier ends that nobody has confirmed."""
        ended = [fact.at for fact in facts if fact.name == events.SESSION_ENDED]
        open_ends = [*ended, *(fact.at for fact in earlier or ())]
        if self._outbox.deliver([*(earlier or ()), *facts]) or not open_ends:
            return Ending(len(ended))
        return Ending(len(ended), max(open_ends) + store.FINAL)

    # -- statements of the protocol --------------------------------------------------------------------------------

    def selecting(self, sid: str) -> Callable[[], Found]:
        def run() -> Found:
            with self._db.reading() as sql:
                return found(sql.execute(find(sid)).one_or_none(), self._settings)

        return run

    def touching(self, token: Token) -> Callable[[], Found]:
        def statement() -> Update:
            own = update(Row_).where(Row_.sid == token.sid, Row_.hash == token.hash, Row_.ended_at.is_(None))
            return own.values(seen_at=int(self._store.clock()))

        return self._writing(token.sid, statement)

    def updating(self, base: Session, **values: Any) -> Callable[[], Found]:
        def statement() -> Update:
            same = update(Row_).where(Row_.sid == base.sid, Row_.version == base.version, Row_.ended_at.is_(None))
            return same.values(version=base.version + 1, **values)

        return self._writing(base.sid, statement)

    def _writing(self, sid: str, statement: Callable[[], Update]) -> Callable[[], Found]:
        """A statement that is built when it runs, for most loads never run theirs."""

        def run() -> Found:
            with self._db.transaction() as sql:
                applied = sql.execute(statement()).rowcount == 1  # type: ignore[attr-defined]  # a CursorResult
                return found(sql.execute(find(sid)).one_or_none(), self._settings)._replace(applied=applied)

        return run

    def _change(self, session: Session, update_of: Callable[[Session], Callable[[], Found]]) -> Session | None:
        select_ = self.selecting(session.sid)
        return self._store.run(store.change(session, update_of, select_, self._store.clock))
