"""Facts are written in the transaction of what they tell, and delivered to Redis afterwards: at once by whoever wrote
them, and again by the relay until that has worked."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session as Sql

from authsvc.core import events, metrics
from authsvc.core.errors import StorageDown
from authsvc.core.events import Fact
from authsvc.core.store import Sign, Store, announce
from authsvc.db import Database
from authsvc.models import Event, table

BATCH = 500
NEW_EVENTS = insert(table(Event)).returning(table(Event).c.id, sort_by_parameter_order=True)


def record(sql: Sql, facts: Sequence[Fact], *, ip: str | None = None, account: str | None = None) -> list[Fact]:
    """Write facts in the caller's transaction; returns them with their ids. Facts that nothing live waits for are
    done as soon as they are written."""
    if not facts:
        return []
    rows = [
        {
            "at": fact.at,
            "name": fact.name,
            "user_id": fact.user,
            "sid": fact.sid,
            "ip": ip,
            "account": account,
            "data": fact.data,
            "request_id": fact.request_id,
            "delivered_at": None if fact.name in events.LIVE else fact.at,
        }
        for fact in facts
    ]
    ids = sql.scalars(NEW_EVENTS, rows)
    return [replace(fact, id=event_id) for fact, event_id in zip(facts, ids, strict=True)]


def count(sql: Sql, name: str, since: int, *, account: str | None = None, ip: str | None = None) -> int:
    """How many facts of a name there are since a unix second, for an account's pseudonym, an address, or both."""
    wanted = [Event.name == name, Event.at > since]
    wanted += [Event.account == account] if account else []
    wanted += [Event.ip == ip] if ip else []
    return sql.scalar(select(func.count()).select_from(Event).where(*wanted)) or 0


def fact_of(event: Event) -> Fact:
    return Fact(event.name, event.user_id, event.at, event.sid, event.data, event.id, event.request_id)


def unsigned(facts: Sequence[Fact]) -> list[None]:
    """For an outbox that delivers nothing to verifiers."""
    return [None] * len(facts)


class Outbox:
    """Delivery of facts to Redis, at least once each. `sign` makes of a fact what verifiers are told of it."""

    def __init__(self, db: Database, store: Store, sign: Sign) -> None:
        self._db = db
        self._store = store
        self._sign = sign

    def deliver(self, facts: Sequence[Fact]) -> bool:
        """Tell Redis; False if not everything could be told, and the relay will have to."""
        live = [fact for fact in facts if fact.name in events.LIVE]
        told = self._store.run(announce(live, self._sign))
        with suppress(StorageDown):  # Redis knows; the relay will tell it once more
            self._mark(told, by="writer")
        return len(told) == len(live)

    def tell(self, fact: Fact) -> None:
        """Tell everything live once, and nobody later: for what is worth nothing a second afterwards."""
        self._store.run(announce([fact], self._sign))

    def relay(self) -> int:
        """Deliver what is not yet delivered, oldest first; returns how many facts that were. Safe to run twice."""
        with self._db.reading() as sql:
            waiting = sql.scalars(select(Event).where(Event.delivered_at.is_(None)).order_by(Event.id).limit(BATCH))
            facts = [fact_of(event) for event in waiting]
        told = self._store.run(announce(facts, self._sign))
        self._mark(told, by="relay")
        return len(told)

    def waiting(self) -> int:
        """For how many seconds the oldest fact has waited to be delivered; 0 if none waits."""
        with self._db.reading() as sql:
            since = sql.scalar(select(func.min(Event.at)).where(Event.delivered_at.is_(None)))
        return max(0, int(self._store.clock()) - since) if since is not None else 0

    def _mark(self, facts: Sequence[Fact], by: str) -> None:
        if not facts:
            return
        done = update(Event).where(Event.id.in_([fact.id for fact in facts]), Event.delivered_at.is_(None))
        with self._db.transaction() as sql:
            names = sql.scalars(done.values(delivered_at=int(self._store.clock())).returning(Event.name)).all()
        for name in names:
            metrics.FACTS.labels(name, by).inc()
