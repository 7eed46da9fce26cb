"""What a client is given: codes that are good once, refresh tokens that are replaced at each use, and their ends."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from authsvc.core import events
from authsvc.core.crypto import Token
from authsvc.core.errors import ClientRefused, GrantRefused, ScopeRefused
from authsvc.core.session import Session
from authsvc.core.settings import DAY, HOUR, MINUTE
from authsvc.domain import codes, grants
from authsvc.domain.codes import Request
from authsvc.domain.grants import ENDED_GRANTS, NOTED, Granted
from authsvc.domain.sessions import Origin
from authsvc.models import Event, Grant
from authsvc.services import Services

CALLBACK = "https://shop.example/cb"
CHALLENGE = "c" * 43
AT_ONCE = 32  # connections of a process


class World:
    """A user, logged in, and a client of somebody else."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.user = services.accounts.create("anna@example.org", "hash").id
        self.client = services.clients.create("Shop", redirect_uris=(CALLBACK,))[0].id
        self.session, self.token = self.log_in()

    def log_in(self) -> tuple[Session, Token]:
        origin = Origin("192.0.2.1", "Firefox")
        return self.services.sessions.create(self.user, 0, amr=("pwd",), remember=False, origin=origin)

    def code(self, scopes: tuple[str, ...] = ("openid", "email"), session: Session | None = None) -> str:
        request = Request(self.client, CALLBACK, scopes, "https://api.example", CHALLENGE, "a nonce")
        return self.services.codes.issue(session or self.session, request)

    def redeem(self, code: str, at: Services | None = None) -> Granted:
        services = at or self.services
        found = services.codes.find(code)
        assert found
        return services.grants.redeem(found, refreshing=True)

    def refresh(self, token: str | None, at: Services | None = None, scope: str | None = None) -> Granted:
        assert token
        return (at or self.services).grants.refresh(self.client, token, scope)

    def noted(self) -> dict[str, int]:
        """The ended grants in the data of the session, as another process finds them by one look."""
        session = self.services.sessions.by_sid(self.session.sid)
        assert session
        found: dict[str, int] = session.data.get(ENDED_GRANTS, {})
        return found


@pytest.fixture
def world(services: Services) -> World:
    return World(services)


def refused(attempt: Callable[[], object]) -> str:
    with pytest.raises(GrantRefused) as error:
        attempt()
    return error.value.detail


# -- codes -------------------------------------------------------------------------------------------------------------


def test_a_code_gives_what_it_was_issued_for(world: World) -> None:
    granted = world.redeem(world.code())
    assert (granted.client_id, granted.scope, granted.audience) == (world.client, "openid email", "https://api.example")
    assert (granted.session.sid, granted.session.user, granted.nonce) == (world.session.sid, world.user, "a nonce")
    assert granted.refresh


def test_a_code_that_was_never_issued_is_not_found(world: World) -> None:
    assert world.services.codes.find("x" * 43) is None


@pytest.mark.promise("B7")
def test_the_database_holds_no_code_and_no_refresh_token(world: World, services: Services) -> None:
    code = world.code()
    token = world.redeem(code).refresh
    assert token
    with services.db.reading() as sql:
        tables = ("codes", "grants", "events", "sessions")
        rows = [row for name in tables for row in sql.connection().exec_driver_sql(f"SELECT * FROM {name}")]
    dump = json.dumps([list(row) for row in rows], default=repr)
    assert code not in dump
    assert token.removeprefix(grants.PREFIX) not in dump


def test_a_code_is_dead_after_a_minute(world: World, make_services: Callable[..., Services]) -> None:
    code = world.code()
    assert "expired" in refused(lambda: world.redeem(code, make_services(later=codes.LIFE)))
    assert world.redeem(code, make_services(later=codes.LIFE - 2)).refresh


def test_a_code_without_a_refresh_token_gives_none(world: World) -> None:
    found = world.services.codes.find(world.code())
    assert found
    assert world.services.grants.redeem(found, refreshing=False).refresh is None


def test_a_second_use_ends_what_came_of_the_first(world: World) -> None:
    code = world.code()
    granted = world.redeem(code)
    assert "twice" in refused(lambda: world.redeem(code))
    assert "twice" in refused(lambda: world.refresh(granted.refresh))
    assert granted.id in world.noted()


@pytest.mark.timeout(120)
def test_of_a_hundred_uses_at_once_one_wins_and_its_tokens_are_dead_afterwards(world: World) -> None:
    code = world.code()

    def use(_: int) -> Granted | str:
        try:
            return world.redeem(code)
        except GrantRefused as error:
            return error.detail

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(use, range(100)))
    won = [result for result in results if isinstance(result, Granted)]
    assert len(won) == 1
    assert {result for result in results if isinstance(result, str)} == {grants.WHY[grants.USED_TWICE]}
    assert "twice" in refused(lambda: world.refresh(won[0].refresh))
    assert won[0].id in world.noted()


@pytest.mark.promise("R5")
def test_a_code_of_a_session_that_has_ended_is_refused(world: World) -> None:
    code = world.code()
    world.services.sessions.logout(world.token)
    assert "ended" in refused(lambda: world.redeem(code))


def test_a_code_of_a_session_that_has_timed_out_is_refused(
    world: World, make_services: Callable[..., Services]
) -> None:
    later = make_services(later=9 * HOUR)
    found = later.codes.find(world.code())
    assert found
    code = later.codes.issue(world.session, Request(world.client, CALLBACK, (), "x", CHALLENGE, None))
    assert "ended" in refused(lambda: world.redeem(code, later))


# -- refresh tokens ----------------------------------------------------------------------------------------------------


def test_each_refresh_replaces_the_token(world: World) -> None:
    first = world.redeem(world.code())
    second = world.refresh(first.refresh)
    third = world.refresh(second.refresh)
    assert len({first.refresh, second.refresh, third.refresh}) == 3
    assert {first.id, second.id, third.id} == {first.id}


@pytest.mark.promise("L8")
def test_a_replay_within_30_seconds_gets_the_same_successor(
    world: World, make_services: Callable[..., Services]
) -> None:
    token = world.redeem(world.code()).refresh
    successor = world.refresh(token).refresh
    assert world.refresh(token).refresh == successor
    assert world.refresh(token, make_services(later=29)).refresh == successor
    assert world.refresh(successor).refresh


@pytest.mark.promise("L8")
def test_two_tabs_that_refresh_at_once_get_the_same_successor(world: World) -> None:
    for _ in range(10):
        token = world.redeem(world.code()).refresh
        with ThreadPoolExecutor(4) as pool:
            successors = {granted.refresh for granted in pool.map(lambda _: world.refresh(token), range(4))}  # noqa: B023
        assert len(successors) == 1
        assert world.refresh(successors.pop()).refresh


@pytest.mark.promise("L8")
def test_a_later_replay_ends_the_family_and_says_why(world: World, make_services: Callable[..., Services]) -> None:
    token = world.redeem(world.code()).refresh
    successor = world.refresh(token)
    later = make_services(later=32)
    assert refused(lambda: world.refresh(token, later)) == grants.WHY[grants.REPLAYED]
    assert refused(lambda: world.refresh(successor.refresh)) == grants.WHY[grants.REPLAYED]
    assert refused(lambda: world.refresh(token, make_services(later=DAY))) == grants.WHY[grants.REPLAYED]
    assert successor.id in world.noted()


@pytest.mark.promise("L8")
def test_a_thief_and_the_owner_lose_the_family_once_both_have_used_it(world: World) -> None:
    stolen = world.redeem(world.code()).refresh
    of_thief = world.refresh(stolen).refresh
    world.refresh(of_thief)
    assert "twice" in refused(lambda: world.refresh(stolen))  # the owner, a second later
    assert "twice" in refused(lambda: world.refresh(of_thief))


def test_a_token_that_is_two_generations_old_ends_the_family(world: World) -> None:
    first = world.redeem(world.code())
    world.refresh(world.refresh(first.refresh).refresh)
    assert "twice" in refused(lambda: world.refresh(first.refresh))


def test_a_token_of_another_client_is_refused_and_stays_good(world: World) -> None:
    granted, other = world.redeem(world.code()), world.services.clients.create("Other", redirect_uris=(CALLBACK,))[0]
    assert granted.refresh
    token = granted.refresh
    refused(lambda: world.services.grants.refresh(other.id, token))
    assert world.refresh(token).refresh


def test_a_token_with_anything_changed_is_refused_before_any_look_up(world: World) -> None:
    token = world.redeem(world.code()).refresh
    assert token
    world.services.db.close()
    world.services.db.engine.connect = pytest.fail  # type: ignore[method-assign, assignment]
    for i, char in enumerate(token):
        refused(lambda i=i, char=char: world.refresh(token[:i] + ("A" if char != "A" else "B") + token[i + 1 :]))  # type: ignore[misc]
    for odd in ("", "art_", "art_\u00e9", token + "A", token + "=", token[4:], token[:-1], " " + token, token + "\n"):
        with pytest.raises(GrantRefused):
            world.services.grants.refresh(world.client, odd)


def test_every_last_character_of_a_token_has_one_spelling(world: World) -> None:
    token = world.redeem(world.code()).refresh
    assert token
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for last in set(alphabet) - {token[-1]}:
        refused(lambda last=last: world.refresh(token[:-1] + last))  # type: ignore[misc]


def test_a_scope_may_be_narrowed_and_never_widened(world: World) -> None:
    granted = world.redeem(world.code(("openid", "email")))
    with pytest.raises(ScopeRefused):
        world.refresh(granted.refresh, scope="openid profile")
    narrow = world.refresh(granted.refresh, scope="email")
    assert narrow.scope == "email"
    assert world.refresh(narrow.refresh).scope == "openid email"  # what was granted stays granted


def test_a_scope_that_is_refused_uses_no_token_up(world: World, make_services: Callable[..., Services]) -> None:
    token = world.redeem(world.code()).refresh
    with pytest.raises(ScopeRefused):
        world.refresh(token, scope="publish")
    assert world.refresh(token, make_services(later=MINUTE)).refresh


@pytest.mark.promise("R5")
def test_a_refresh_token_dies_with_its_session(world: World) -> None:
    token = world.redeem(world.code()).refresh
    world.services.sessions.logout(world.token)
    assert "ended" in refused(lambda: world.refresh(token))


@pytest.mark.promise("R5")
def test_the_end_of_all_sessions_ends_every_family(world: World) -> None:
    tokens = [world.redeem(world.code(session=world.log_in()[0])).refresh for _ in range(3)]
    world.services.sessions.end_all(world.user)
    for token in tokens:
        assert "ended" in refused(lambda token=token: world.refresh(token))  # type: ignore[misc]


def test_a_refresh_is_use_of_the_session(world: World, make_services: Callable[..., Services]) -> None:
    token = world.redeem(world.code()).refresh
    for hours in (7, 14, 21):
        token = world.refresh(token, make_services(later=hours * HOUR)).refresh
    late = make_services(later=21 * HOUR + MINUTE)
    assert late.sessions.load(world.token)
    assert "ended" in refused(lambda: world.refresh(token, make_services(later=30 * HOUR)))


def test_a_family_ends_with_the_session_whatever_its_use(world: World, make_services: Callable[..., Services]) -> None:
    token = world.redeem(world.code()).refresh
    token = world.refresh(token, make_services(later=29 * DAY, idle=30 * DAY)).refresh
    assert "ended" in refused(lambda: world.refresh(token, make_services(later=30 * DAY + 1, idle=30 * DAY)))


def test_tokens_go_on_after_the_secret_was_changed(world: World, make_services: Callable[..., Services]) -> None:
    token = world.redeem(world.code()).refresh
    old = world.services.settings.secret_keys
    renewed = make_services(secret_keys=(type(old[0])("n" * 20 + "ewer0123456789xyzABC"), *old))
    assert world.refresh(world.refresh(token, renewed).refresh, renewed).refresh


# -- ends --------------------------------------------------------------------------------------------------------------


def test_an_end_is_told_once_with_its_session(world: World, services: Services) -> None:
    granted = world.redeem(world.code())
    services.grants.end(granted.id, grants.REVOKED)
    services.grants.end(granted.id, grants.REVOKED)
    with services.db.reading() as sql:
        facts = sql.scalars(select(Event).where(Event.name == events.GRANT_ENDED)).all()
    assert [(fact.user_id, fact.sid, fact.data) for fact in facts] == [
        (world.user, world.session.sid, {"grant": granted.id})
    ]
    assert facts[0].delivered_at is not None
    assert "application has ended" in refused(lambda: world.refresh(granted.refresh))


def test_an_end_is_seen_at_once_in_a_copy_that_is_fresh(world: World, make_services: Callable[..., Services]) -> None:
    other = make_services()
    granted = world.redeem(world.code())
    assert other.sessions.by_sid(world.session.sid)  # which fills the copy
    world.services.grants.end(granted.id, grants.REVOKED)
    session = other.sessions.by_sid(world.session.sid)
    assert session
    assert granted.id in session.data[ENDED_GRANTS]


def test_grants_that_end_at_once_are_all_noted_beside_what_else_the_session_keeps(world: World) -> None:
    world.services.sessions.save(world.session, {"colour": "blue"})
    ended = [world.redeem(world.code()).id for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda grant: world.services.grants.end(grant, grants.REVOKED), ended))
    session = world.services.sessions.by_sid(world.session.sid)
    assert session
    assert (set(session.data[ENDED_GRANTS]), session.data["colour"]) == (set(ended), "blue")


def test_a_save_of_the_session_keeps_the_note(world: World) -> None:
    stale = world.services.sessions.by_sid(world.session.sid)
    granted = world.redeem(world.code())
    world.services.grants.end(granted.id, grants.REVOKED)
    assert stale
    world.services.sessions.save(stale, {"colour": "blue"})
    assert granted.id in world.noted()


def test_a_note_goes_once_no_access_token_can_be_left(world: World, make_services: Callable[..., Services]) -> None:
    first, second = world.redeem(world.code()), world.redeem(world.code())
    world.services.grants.end(first.id, grants.REVOKED)
    make_services(later=NOTED + 1).grants.end(second.id, grants.REVOKED)
    assert set(world.noted()) == {second.id}


def test_only_the_grant_that_ends_ends(world: World) -> None:
    first, second = world.redeem(world.code()), world.redeem(world.code())
    world.services.grants.end(first.id, grants.REVOKED)
    assert world.refresh(second.refresh).refresh
    assert world.services.sessions.load(world.token)


def test_a_grant_of_a_session_that_has_ended_ends_without_fuss(world: World) -> None:
    granted = world.redeem(world.code())
    world.services.sessions.logout(world.token)
    world.services.grants.end(granted.id, grants.REVOKED)
    world.services.grants.end("no such grant", grants.REVOKED)


# -- consents ----------------------------------------------------------------------------------------------------------


def test_consent_adds_up(world: World) -> None:
    consents = world.services.consents
    assert consents.given(world.user, world.client) == set()
    consents.give(world.user, world.client, ("openid",))
    consents.give(world.user, world.client, ("openid", "email"))
    assert consents.given(world.user, world.client) == {"openid", "email"}


def test_a_consent_withdrawn_ends_all_that_came_of_it_in_every_session(world: World, services: Services) -> None:
    other, _ = world.log_in()
    services.consents.give(world.user, world.client, ("openid",))
    tokens = [world.redeem(world.code()).refresh, world.redeem(world.code(session=other)).refresh]
    services.consents.withdraw(world.user, world.client)
    assert services.consents.given(world.user, world.client) == set()
    for token in tokens:
        assert "withdrawn" in refused(lambda token=token: world.refresh(token))  # type: ignore[misc]
    for sid in (world.session.sid, other.sid):
        session = services.sessions.by_sid(sid)
        assert session
        assert len(session.data[ENDED_GRANTS]) == 1
    assert services.consents.applications(world.user) == []


def test_a_withdrawal_touches_nobody_else(world: World, services: Services) -> None:
    bodo = services.accounts.create("bodo@example.org", "hash").id
    services.consents.give(bodo, world.client, ("openid",))
    granted = world.redeem(world.code())
    services.consents.withdraw(bodo, world.client)
    assert world.refresh(granted.refresh).refresh


def test_the_list_has_agreements_and_live_grants_and_nothing_that_is_over(world: World, services: Services) -> None:
    first_party, _ = services.clients.create("Ours", redirect_uris=(CALLBACK,), first_party=True)
    services.consents.give(world.user, world.client, ("openid", "email"))
    request = Request(first_party.id, CALLBACK, ("profile",), "x", CHALLENGE, None)
    world.redeem(services.codes.issue(world.session, request))
    listed = services.consents.applications(world.user)
    assert [(each.name, each.scopes) for each in listed] == [("Ours", ("profile",)), ("Shop", ("openid", "email"))]
    services.sessions.logout(world.token)
    assert [each.name for each in services.consents.applications(world.user)] == ["Shop"]


def test_a_deleted_client_takes_its_grants_along(world: World, services: Services) -> None:
    granted = world.redeem(world.code())
    services.grants.delete_client(world.client)
    refused(lambda: world.refresh(granted.refresh))
    assert list(world.noted()) == [granted.id]  # so that its access tokens are refused too
    with services.db.reading() as sql:
        assert sql.scalar(select(func.count()).select_from(Grant)) == 0


def test_a_client_that_was_deleted_a_moment_ago_gets_nothing_more(world: World, services: Services) -> None:
    """Another process may still have it in mind."""
    services.grants.delete_client(world.client)
    with pytest.raises(ClientRefused):
        world.code()
    with pytest.raises(ClientRefused):
        services.consents.give(world.user, world.client, ("openid",))
