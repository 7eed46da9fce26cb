"""Facts: written with what they tell or not at all, delivered at least once, by whoever lives to do it."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from authsvc.core import events
from authsvc.core.errors import StorageDown, Unavailable
from authsvc.core.events import Fact, parse
from authsvc.core.store import ENDED, key_of
from authsvc.domain.accounts import Account
from authsvc.domain.outbox import BATCH, Outbox, record
from authsvc.domain.sessions import Origin
from authsvc.models import Event
from authsvc.services import Services
from tests.servers import Valkey

ANNA = "anna@example.org"


class CrashError(Exception):
    """The process dies here."""


@pytest.fixture
def anna(services: Services) -> Account:
    return services.accounts.create(ANNA, "hash")


def log_in(services: Services, user_id: str) -> Any:
    return services.sessions.create(
        user_id, 0, amr=("pwd",), remember=False, origin=Origin("192.0.2.1", "Firefox")
    )[1]  # fmt: skip


def told(server: Valkey) -> list[Fact]:
    """What went onto the stream, in order."""
    with server.client() as client:
        messages = [fields[b"fact"] for _, fields in client.xrange(events.STREAM)]
    return [fact for message in messages if (fact := parse(message))]


def waiting(services: Services) -> list[str]:
    with services.db.reading() as sql:
        return list(sql.scalars(select(Event.name).where(Event.delivered_at.is_(None)).order_by(Event.id)))


def test_a_fact_is_written_with_what_it_tells_or_not_at_all(services: Services) -> None:
    def write() -> None:
        with services.db.transaction() as sql:
            record(sql, [Fact(events.SESSION_ENDED, "anna", 1, "sid")])
            raise CrashError

    with pytest.raises(CrashError):
        write()

    assert waiting(services) == []
    assert services.outbox.relay() == 0


def test_facts_get_their_ids_in_order(services: Services) -> None:
    with services.db.transaction() as sql:
        facts = record(sql, [Fact(events.SESSION_ENDED, "anna", 1, f"sid {n}", {"n": n}) for n in range(50)])

    ids = [fact.id for fact in facts]
    assert [fact.sid for fact in facts] == [f"sid {n}" for n in range(50)]
    assert ids == sorted(ids, key=lambda id_: id_ or 0)
    assert len(set(ids)) == 50


def test_a_fact_that_nothing_live_waits_for_is_done_when_it_is_written(services: Services, valkey: Valkey) -> None:
    services.accounts.create(ANNA, "hash")
    services.accounts.failed("account", "192.0.2.1")

    assert waiting(services) == []
    assert services.outbox.relay() == 0
    assert told(valkey) == []


@pytest.mark.promise("L4")
def test_the_end_of_a_session_is_told_once_and_nothing_is_left(
    services: Services, anna: Account, valkey: Valkey
) -> None:
    token = log_in(services, anna.id)
    services.outbox.relay()
    services.sessions.logout(token)

    ends = [fact for fact in told(valkey) if fact.name == events.SESSION_ENDED]
    assert [(fact.sid, fact.user) for fact in ends] == [(token.sid, anna.id)]
    assert waiting(services) == []


@pytest.mark.promise("L4")
def test_the_relay_tells_what_could_not_be_told_in_order_and_once(
    services: Services, anna: Account, valkey: Valkey
) -> None:
    valkey.kill()
    tokens = [log_in(services, anna.id) for _ in range(3)]
    for token in tokens:
        services.sessions.logout(token)
    assert services.outbox.relay() == 0
    assert len(waiting(services)) == 6
    valkey.start()
    services.store.redis._breaker.succeeded()

    assert services.outbox.relay() == 6

    assert services.outbox.relay() == 0
    assert [fact.sid for fact in told(valkey) if fact.name == events.SESSION_ENDED] == [token.sid for token in tokens]
    assert [fact.id for fact in told(valkey)] == sorted(fact.id or 0 for fact in told(valkey))


@pytest.mark.promise("L4")
@pytest.mark.promise("R6")
def test_an_end_whose_process_died_after_its_commit_is_told_by_the_relay(
    services: Services, anna: Account, valkey: Valkey, make_services: Callable[..., Services]
) -> None:
    token = log_in(services, anna.id)
    services.sessions.load(token)
    with services.db.transaction() as sql:
        services.sessions.end_all_within(sql, anna.id)

    other = make_services()
    assert other.outbox.relay() >= 1

    assert other.sessions.load(token) is None
    assert [fact.sid for fact in told(valkey) if fact.name == events.SESSION_ENDED] == [token.sid]


@pytest.mark.promise("L4")
def test_a_relay_that_dies_before_it_notes_what_it_did_is_followed_by_one_that_does_it_again(
    services: Services, anna: Account, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    with services.db.transaction() as sql:
        record(sql, [Fact(events.SESSION_ENDED, anna.id, 1, "sid")])

    def die(*_: object, **__: object) -> None:
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(services.outbox, "_mark", die)
        with pytest.raises(CrashError):
            services.outbox.relay()
    assert services.outbox.relay() == 1

    assert [fact.sid for fact in told(valkey)] == ["sid", "sid"]
    assert len({fact.id for fact in told(valkey)}) == 1
    assert waiting(services) == []


def test_a_backlog_is_told_in_portions(services: Services, valkey: Valkey) -> None:
    with services.db.transaction() as sql:
        record(sql, [Fact(events.SESSION_ENDED, "anna", 1, f"sid {n}") for n in range(BATCH + 7)])

    assert [services.outbox.relay() for _ in range(3)] == [BATCH, 7, 0]
    assert [fact.sid for fact in told(valkey)] == [f"sid {n}" for n in range(BATCH + 7)]


def test_how_long_the_oldest_fact_has_waited(services: Services) -> None:
    assert services.outbox.waiting() == 0
    with services.db.transaction() as sql:
        record(sql, [Fact(events.SESSION_ENDED, "anna", int(services.store.clock()) - 30, "sid")])

    assert 30 <= services.outbox.waiting() <= 40


def signed(server: Valkey) -> list[bytes | None]:
    """What the stream has for verifiers, in order."""
    with server.client() as client:
        return [fields.get(b"set") for _, fields in client.xrange(events.STREAM)]


def ended(services: Services, count: int) -> list[Fact]:
    with services.db.transaction() as sql:
        return record(sql, [Fact(events.SESSION_ENDED, "anna", 1, f"sid {n}") for n in range(count)])


@pytest.mark.promise("R5")
def test_what_verifiers_are_told_goes_into_the_stream_with_the_fact(
    services: Services, anna: Account, valkey: Valkey
) -> None:
    token = log_in(services, anna.id)
    services.outbox.relay()
    services.sessions.logout(token)
    services.accounts.set_roles(ANNA, ("editor",))

    assert [fact.name for fact in told(valkey)] == ["session.started", "session.ended", "roles.changed"]
    assert [bool(token) for token in signed(valkey)] == [False, True, True]


def test_all_ends_are_marked_before_the_first_is_signed(services: Services, valkey: Valkey) -> None:
    def sign(facts: Any) -> list[str | None]:
        with valkey.client() as client:
            marks.append([client.get(key_of(f"sid {n}")) for n in range(250)])
        return ["a.b.c"] * len(facts)

    marks: list[list[bytes | None]] = []
    assert Outbox(services.db, services.store, sign).deliver(ended(services, 250))

    assert marks == [[ENDED] * 250] * 3
    assert len(signed(valkey)) == 250


@pytest.mark.promise("R5")
@pytest.mark.promise("R6")
@pytest.mark.parametrize("trouble", [StorageDown(), Unavailable("There is no key to sign with.")])
def test_an_end_that_cannot_be_signed_takes_effect_and_is_told_to_verifiers_later(
    services: Services, valkey: Valkey, trouble: Unavailable
) -> None:
    def sign(facts: Any) -> list[str | None]:
        raise trouble

    unable = Outbox(services.db, services.store, sign)
    with valkey.client() as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(events.STREAM)
        assert pubsub.get_message(timeout=5) is None
        assert not unable.deliver(ended(services, 1)), "it is not told whole"
        assert client.get(key_of("sid 0")) == ENDED
        heard = pubsub.get_message(timeout=5)
        assert heard
        assert (parse(heard["data"]) or Fact("", None, 0)).sid == "sid 0"
    assert unable.relay() == 0
    assert signed(valkey) == [], "where verifiers look it is only with a signature"
    assert waiting(services) == [events.SESSION_ENDED]

    assert services.outbox.relay() == 1

    assert [bool(token) for token in signed(valkey)] == [True]
    assert waiting(services) == []


@pytest.mark.parametrize(
    "message", [b"", b"null", b"[]", b"{}", b'{"name": 1}', b"\xff", b'{"name": "a", "odd": 1}', b"{"]
)
def test_a_message_that_is_no_fact_is_none(message: bytes) -> None:
    assert parse(message) is None


def test_a_fact_is_read_as_it_was_sent() -> None:
    fact = Fact(events.ROLES_CHANGED, "anna", 1_800_000_000, None, {"roles": ["ä"]}, 7)

    assert parse(events.dump(fact)) == fact
