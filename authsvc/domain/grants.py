"""Grants: what came of one code, that is access tokens and a family of refresh tokens (RFC 6749, 6; RFC 9700, 4.14).

A refresh token is `art_` and 51 characters: id of the grant (16 bytes), generation (4), tag (18). None is stored: the
row has the generation that is good, and its token is made anew from that. So whoever has lost an answer, or is the
second of two tabs, gets the same successor again, for a little while and as long as nobody has used that. Any other
replay means that somebody else has the token, and ends the family. A grant hangs on its session: that ends, it ends.
"""

from dataclasses import dataclass
from typing import Any, NoReturn

from sqlalchemy import ColumnElement, bindparam, insert, select, update
from sqlalchemy.orm import Session as Sql

from authsvc.core import events
from authsvc.core import session as rules
from authsvc.core.crypto import Keyring, b64url, new_id, unb64url
from authsvc.core.errors import GrantRefused, ScopeRefused
from authsvc.core.events import Fact
from authsvc.core.session import Session
from authsvc.core.settings import Settings
from authsvc.core.store import TOUCH_EVERY, Clock
from authsvc.db import Database
from authsvc.domain import clients
from authsvc.domain.codes import Code, Codes, look
from authsvc.domain.outbox import Outbox, record
from authsvc.domain.sessions import Sessions, find, session_of
from authsvc.domain.tokens import ACCESS_LIFE
from authsvc.models import Grant as Row
from authsvc.models import Session as SessionRow
from authsvc.models import table

PREFIX = "art_"
PURPOSE = "refresh token"
ID_BYTES, GENERATION_BYTES = 16, 4
FORGIVEN = 30  # seconds in which a token that has just been used gets the same successor
ENDED_GRANTS = "authsvc.ended_grants"  # in the data of a session: {id: unix second}
NOTED = ACCESS_LIFE + 60  # seconds for which an ended grant stands there

REPLAYED, USED_TWICE, REVOKED, WITHDRAWN = "replayed", "used_twice", "revoked", "withdrawn"
WHY = {
    REPLAYED: "A refresh token of this login was used twice, so somebody else may have it. Log in again.",
    USED_TWICE: "The code of this login was used twice, so somebody else may have it. Log in again.",
    REVOKED: "The application has ended this login. Log in again.",
    WITHDRAWN: "You have withdrawn this access in your account. Log in again.",
}
OVER = "This login has ended. Log in again."

GRANTS, SESSIONS = table(Row), table(SessionRow)
NEW = insert(GRANTS)
PRESENTED = (GRANTS.c.id == bindparam("grant"), GRANTS.c.client_id == bindparam("client"))
LOOK = select(GRANTS).where(*PRESENTED)
FIND = LOOK.with_for_update()
ROTATE = (
    update(GRANTS)
    .where(
        *PRESENTED,
        GRANTS.c.generation == bindparam("presented"),
        GRANTS.c.ended_at.is_(None),
        GRANTS.c.expires_at > bindparam("now"),
    )
    .values(generation=GRANTS.c.generation + 1, rotated_at=bindparam("now"))
    .returning(GRANTS)
)
SESSION = find(bindparam("sid"))
TOUCH = update(SESSIONS).where(SESSIONS.c.sid == bindparam("of"), SESSIONS.c.seen_at < bindparam("now"))
TOUCH = TOUCH.values(seen_at=bindparam("now"))


@dataclass(frozen=True, slots=True)
class Granted:
    """What a client gets tokens for, and since when (unix seconds). `refresh` is its next refresh token, if it may have
    one."""

    id: str
    session: Session
    client_id: str
    scope: str
    audience: str
    since: int
    refresh: str | None
    nonce: str | None = None


class Grants:
    def __init__(
        self, db: Database, keyring: Keyring, codes: Codes, sessions: Sessions, outbox: Outbox, settings: Settings,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._db = db
        self._keyring = keyring
        self._codes = codes
        self._sessions = sessions
        self._outbox = outbox
        self._settings = settings
        self._clock = clock

    def redeem(self, code: Code, *, refreshing: bool) -> Granted:
        """What a code was given for, once. A second use ends what came of the first (RFC 6749, 4.1.2), also when both
        come at once. Raises GrantRefused."""
        now, granted = int(self._clock()), new_id()
        with self._db.transaction() as sql:
            if self._codes.use(sql, code, granted, now):
                return self._begin(sql, granted, code, now, refreshing=refreshing)
            used = look(sql, code.hash)
        if used and used.grant:
            self.used_again(used.grant)
        raise GrantRefused("This code has expired. Log in again.")

    def used_again(self, grant: str) -> NoReturn:
        """The code that a grant came of was shown once more: the grant ends. Raises GrantRefused."""
        self.end(grant, USED_TWICE)
        raise GrantRefused(WHY[USED_TWICE])

    def refresh(self, client_id: str, token: str, scope: str | None = None) -> Granted:
        """The next tokens of a family, with the whole scope or with a part of it. Counts as use of the session. Raises
        GrantRefused, or ScopeRefused for a scope that is wider."""
        grant, generation = self._read(token)
        now = int(self._clock())
        asked = {"grant": grant, "client": client_id, "presented": generation, "now": now}
        with self._db.transaction() as sql:
            row = sql.execute(ROTATE, asked).one_or_none()
            if row is not None:
                return self._go_on(sql, row, scope, now)
        return self._again(asked, scope, now)

    def _begin(self, sql: Sql, granted: str, code: Code, now: int, *, refreshing: bool) -> Granted:
        session = self._session(sql, code.sid, now)
        expires = rules.expires(session) if refreshing else now + ACCESS_LIFE
        row = {
            "id": granted, "client_id": code.client_id, "user_id": session.user, "sid": code.sid, "scope": code.scope,
            "audience": code.audience, "generation": 0, "rotated_at": now, "created_at": now, "expires_at": expires,
        }  # fmt: skip
        sql.execute(NEW, row)
        refresh = self._write(granted, 0) if refreshing else None
        return Granted(granted, session, code.client_id, code.scope, code.audience, now, refresh, code.nonce)

    def _go_on(self, sql: Sql, row: Any, scope: str | None, now: int) -> Granted:
        session = self._session(sql, row.sid, now)
        if now - session.seen >= TOUCH_EVERY:
            sql.execute(TOUCH, {"of": row.sid, "now": now})
        narrowed, refresh = _narrowed(row.scope, scope), self._write(row.id, row.generation)
        return Granted(row.id, session, row.client_id, narrowed, row.audience, row.created_at, refresh)

    def _again(self, asked: dict[str, Any], scope: str | None, now: int) -> Granted:
        """A token that is not the current one: a lost answer, or a theft."""
        with self._db.transaction() as sql:
            row = sql.execute(FIND, asked).one_or_none()
            if row is None or row.ended_at or row.expires_at <= now:
                raise GrantRefused(WHY.get(row.ended_why, OVER) if row else None)
            if asked["presented"] == row.generation - 1 and now - row.rotated_at <= FORGIVEN:
                return self._go_on(sql, row, scope, now)
            facts = self.end_within(sql, REPLAYED, Row.id == row.id)
        self.made_known(facts)
        raise GrantRefused(WHY[REPLAYED])

    def _session(self, sql: Sql, sid: str, now: int) -> Session:
        row = sql.execute(SESSION, {"sid": sid}).one_or_none()
        session = session_of(row, self._settings) if row else None
        if session is None or not rules.alive(session, now):
            raise GrantRefused(OVER)
        return session

    # -- ends ------------------------------------------------------------------------------------------------------

    def grant_of(self, token: str, client_id: str) -> str | None:
        """The id of the grant that a refresh token of this client belongs to, whatever its generation."""
        try:
            grant, _ = self._read(token)
        except GrantRefused:
            return None
        with self._db.reading() as sql:
            return sql.scalar(select(Row.id).where(Row.id == grant, Row.client_id == client_id))

    def current(self, token: str, client_id: str) -> tuple[Any, Session] | None:
        """The row of the grant whose next refresh token this is, and its live session; None if it would be refused."""
        try:
            grant, generation = self._read(token)
            with self._db.reading() as sql:
                row = sql.execute(LOOK, {"grant": grant, "client": client_id}).one_or_none()
                now = int(self._clock())
                if row is None or row.ended_at or row.expires_at <= now or row.generation != generation:
                    return None
                return row, self._session(sql, row.sid, now)
        except GrantRefused:
            return None

    def end(self, grant: str, why: str) -> None:
        """End a grant alone: its refresh tokens at once, its access tokens wherever the session is asked for."""
        with self._db.transaction() as sql:
            facts = self.end_within(sql, why, Row.id == grant)
        self.made_known(facts)

    def delete_client(self, client_id: str) -> None:
        """A client is no more, and nothing that it was granted is good from now on. Raises NotFound."""
        with self._db.transaction() as sql:
            facts = self.end_within(sql, REVOKED, Row.client_id == client_id)
            clients.remove(sql, client_id)
        self.made_known(facts)

    def end_within(self, sql: Sql, why: str, *conditions: ColumnElement[bool]) -> list[Fact]:
        """The same inside a larger use case, which hands the facts to `made_known` after its commit."""
        now = int(self._clock())
        live = Row.ended_at.is_(None), Row.expires_at > now
        ending = update(Row).where(*conditions, *live).values(ended_at=now, ended_why=why)
        ended = sql.execute(ending.returning(Row.id, Row.sid, Row.user_id)).all()
        for sid in sorted({sid for _, sid, _ in ended}):
            _note(sql, sid, [grant for grant, of, _ in ended if of == sid], now)
        return record(sql, [Fact(events.GRANT_ENDED, user, now, sid, {"grant": grant}) for grant, sid, user in ended])

    def made_known(self, facts: list[Fact]) -> None:
        """Bring ends that are committed into the copies of their sessions, and to everything live."""
        for sid in {fact.sid for fact in facts if fact.sid}:
            self._sessions.renew(sid)
        self._outbox.deliver(facts)

    # -- refresh tokens --------------------------------------------------------------------------------------------

    def _write(self, grant: str, generation: int) -> str:
        body = (unb64url(grant + "==") or b"") + generation.to_bytes(GENERATION_BYTES, "big")
        return PREFIX + b64url(body + self._keyring.tag(PURPOSE, body))

    def _read(self, token: str) -> tuple[str, int]:
        """Grant and generation. Raises GrantRefused for what we have not made; looks nothing up."""
        text = token.removeprefix(PREFIX)
        raw = unb64url(text + "=") or b""
        body, tag = raw[: ID_BYTES + GENERATION_BYTES], raw[ID_BYTES + GENERATION_BYTES :]
        if token != PREFIX + b64url(raw) or not self._keyring.accepts(PURPOSE, body, tag):
            raise GrantRefused
        return b64url(body[:ID_BYTES]), int.from_bytes(body[ID_BYTES:], "big")


def _narrowed(granted: str, wanted: str | None) -> str:
    """The scope that is asked for, within the one that was granted (RFC 6749, 6)."""
    if wanted is None:
        return granted
    if not set(wanted.split()) <= set(granted.split()):
        raise ScopeRefused
    return " ".join(dict.fromkeys(wanted.split()))


def _note(sql: Sql, sid: str, grants: list[str], now: int) -> None:
    """Write ended grants into the data of their session, where they are found without a look-up of their own."""
    kept = select(SessionRow.data, SessionRow.version).where(SessionRow.sid == sid, SessionRow.ended_at.is_(None))
    row = sql.execute(kept.with_for_update()).one_or_none()
    if row is None:
        return
    young = {grant: at for grant, at in row.data.get(ENDED_GRANTS, {}).items() if at > now - NOTED}
    data = {**row.data, ENDED_GRANTS: young | dict.fromkeys(grants, now)}
    sql.execute(update(SessionRow).where(SessionRow.sid == sid).values(data=data, version=row.version + 1))
