"""The end of a grant alone, and consents, by which it ends too."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from authsvc.core import events
from authsvc.core.errors import ClientRefused
from authsvc.domain import grants
from authsvc.domain.codes import Request
from authsvc.domain.grants import ENDED_GRANTS, NOTED
from authsvc.models import Event, Grant
from authsvc.services import Services
from tests.domain.world import CALLBACK, CHALLENGE, World, refused

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


@pytest.mark.asvs("V10.4.9")
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
