"""Consents: what users let the applications of others have, and the list in which they look at it and take it back."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Sql

from authsvc.core.errors import ClientRefused
from authsvc.core.store import Clock
from authsvc.db import Database
from authsvc.domain.grants import WITHDRAWN, Grants
from authsvc.models import Client, Grant, Session, User, table
from authsvc.models import Consent as Row


@dataclass(frozen=True, slots=True)
class Application:
    """A client that a user has let in. `since` in unix seconds."""

    id: str
    name: str
    scopes: tuple[str, ...]
    since: int


class Consents:
    def __init__(self, db: Database, grants: Grants, clock: Clock) -> None:
        self._db = db
        self._grants = grants
        self._clock = clock

    def given(self, user_id: str, client_id: str) -> frozenset[str]:
        """The scopes that a user has agreed to."""
        with self._db.reading() as sql:
            scopes = sql.scalar(select(Row.scopes).where(Row.user_id == user_id, Row.client_id == client_id))
        return frozenset(scopes or ())

    def give(self, user_id: str, client_id: str, scopes: Iterable[str]) -> None:
        """Agree to scopes, beside those that were agreed to before. Raises ClientRefused if it was just deleted."""
        try:
            with self._db.transaction() as sql:
                sql.execute(select(User.id).where(User.id == user_id).with_for_update())  # of two at once both count
                self._add(sql, user_id, client_id, scopes)
        except IntegrityError:
            raise ClientRefused from None

    def _add(self, sql: Sql, user_id: str, client_id: str, scopes: Iterable[str]) -> None:
        row = sql.get(Row, (user_id, client_id))
        if row is None:
            new = {"user_id": user_id, "client_id": client_id, "granted_at": int(self._clock())}
            sql.execute(insert(table(Row)), new | {"scopes": list(scopes)})
        else:
            row.scopes = list(dict.fromkeys((*row.scopes, *scopes)))

    def withdraw(self, user_id: str, client_id: str) -> None:
        """Take back what a client was given: it has to ask anew, and nothing that it got is good any more."""
        with self._db.transaction() as sql:
            sql.execute(delete(Row).where(Row.user_id == user_id, Row.client_id == client_id))
            own = Grant.user_id == user_id, Grant.client_id == client_id
            facts = self._grants.end_within(sql, WITHDRAWN, *own)
        self._grants.made_known(facts)

    def applications(self, user_id: str) -> list[Application]:
        """Clients that a user has agreed to, or that have something of theirs now, by name."""
        with self._db.reading() as sql:
            found = [*self._agreed(sql, user_id), *self._live(sql, user_id)]
        merged: dict[str, Application] = {}
        for each in found:
            known = merged.get(each.id, each)
            scopes = tuple(dict.fromkeys((*known.scopes, *each.scopes)))
            merged[each.id] = Application(each.id, each.name, scopes, min(known.since, each.since))
        return sorted(merged.values(), key=lambda each: (each.name.casefold(), each.id))

    @staticmethod
    def _agreed(sql: Sql, user_id: str) -> list[Application]:
        agreed = select(Client.id, Client.name, Row.scopes, Row.granted_at).join(Row, Row.client_id == Client.id)
        rows = sql.execute(agreed.where(Row.user_id == user_id))
        return [Application(client, name, tuple(scopes), since) for client, name, scopes, since in rows]

    def _live(self, sql: Sql, user_id: str) -> list[Application]:
        wanted = select(Client.id, Client.name, Grant.scope, Grant.created_at).join(Grant, Grant.client_id == Client.id)
        alive = Grant.ended_at.is_(None), Grant.expires_at > int(self._clock()), Session.ended_at.is_(None)
        rows = sql.execute(wanted.join(Session, Session.sid == Grant.sid).where(Grant.user_id == user_id, *alive))
        return [Application(client, name, tuple(scope.split()), since) for client, name, scope, since in rows]
