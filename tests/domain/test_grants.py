"""What a client is given: codes that are good once, and refresh tokens that are replaced at each use."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from authsvc.core.errors import GrantRefused, ScopeRefused
from authsvc.core.settings import DAY, HOUR, MINUTE
from authsvc.domain import codes, grants
from authsvc.domain.codes import Request
from authsvc.domain.grants import Granted
from authsvc.services import Services
from tests.domain.world import CALLBACK, CHALLENGE, World, refused

AT_ONCE = 32  # connections of a process


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


@pytest.mark.asvs("V10.4.3")
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
@pytest.mark.asvs("V10.4.2")
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
@pytest.mark.asvs("V10.4.5")
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


@pytest.mark.asvs("V10.4.8")
def test_a_family_ends_with_the_session_whatever_its_use(world: World, make_services: Callable[..., Services]) -> None:
    token = world.redeem(world.code()).refresh
    token = world.refresh(token, make_services(later=29 * DAY, idle=30 * DAY)).refresh
    assert "ended" in refused(lambda: world.refresh(token, make_services(later=30 * DAY + 1, idle=30 * DAY)))


def test_tokens_go_on_after_the_secret_was_changed(world: World, make_services: Callable[..., Services]) -> None:
    token = world.redeem(world.code()).refresh
    old = world.services.settings.secret_keys
    renewed = make_services(secret_keys=(type(old[0])("n" * 20 + "ewer0123456789xyzABC"), *old))
    assert world.refresh(world.refresh(token, renewed).refresh, renewed).refresh
