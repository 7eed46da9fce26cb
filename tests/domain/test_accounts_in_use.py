"""What happens to the sessions and logins of an account when an operator changes the account."""

import pytest
from sqlalchemy import select

from authsvc.core import events
from authsvc.core.crypto import Token
from authsvc.core.errors import InvalidCredentials
from authsvc.domain.accounts import Account
from authsvc.domain.sessions import Ending, Origin
from authsvc.login.flow import Caller
from authsvc.models import Event
from authsvc.services import Services
from tests.conftest import PASSWORD

ANNA, EVE = "anna@example.org", "eve@example.org"


@pytest.fixture
def anna(services: Services) -> Account:
    return services.accounts.create(ANNA, services.hasher.hash(PASSWORD), roles=("editor",))


def log_in(services: Services, email: str = ANNA) -> Token:
    caller = Caller(Origin("192.0.2.1", "Firefox"))
    return services.login.with_password(email, PASSWORD, remember=False, caller=caller)[1]


def undelivered(services: Services) -> list[str]:
    with services.db.reading() as sql:
        return list(sql.scalars(select(Event.name).where(Event.delivered_at.is_(None)).order_by(Event.id)))


@pytest.mark.promise("R7")
@pytest.mark.usefixtures("anna")
def test_disable_ends_and_counts_the_sessions_of_that_account_alone(services: Services) -> None:
    services.accounts.create(EVE, services.hasher.hash(PASSWORD))
    tokens, ended, other = [log_in(services) for _ in range(3)], log_in(services), log_in(services, EVE)
    services.sessions.logout(ended)

    assert services.accounts.disable(ANNA) == Ending(3)

    assert [services.sessions.load(token) for token in tokens] == [None] * 3
    assert services.sessions.load(other)
    assert services.accounts.disable(ANNA) == Ending(0)


@pytest.mark.usefixtures("anna")
def test_who_is_disabled_cannot_log_in_until_enabled_and_old_sessions_stay_ended(services: Services) -> None:
    token = log_in(services)
    services.accounts.disable(ANNA)
    with pytest.raises(InvalidCredentials):
        log_in(services)

    services.accounts.enable(ANNA)

    assert services.sessions.load(log_in(services))
    assert services.sessions.load(token) is None


@pytest.mark.promise("R4")
def test_a_login_that_had_its_password_checked_before_the_disable_fails(services: Services, anna: Account) -> None:
    before = services.accounts.known(ANNA).account
    assert before
    services.accounts.disable(ANNA)
    services.accounts.enable(ANNA)

    with pytest.raises(InvalidCredentials):
        services.sessions.create(
            anna.id, before.epoch, amr=("pwd",), remember=False, origin=Origin("192.0.2.1", "Firefox")
        )
    assert services.sessions.of_user(anna.id) == []


@pytest.mark.usefixtures("anna")
def test_new_roles_are_in_a_session_at_its_next_request(services: Services) -> None:
    token = log_in(services)
    before = services.sessions.load(token)

    services.accounts.set_roles(ANNA, ("admin",))

    after = services.sessions.load(token)
    assert before
    assert after
    assert (before.roles, after.roles) == (("editor",), ("admin",))


@pytest.mark.usefixtures("anna")
def test_a_start_is_left_to_the_relay_and_an_end_is_not(services: Services) -> None:
    token = log_in(services)
    assert undelivered(services) == [events.SESSION_STARTED]

    services.sessions.logout(token)

    assert undelivered(services) == [events.SESSION_STARTED]
    assert services.outbox.relay() == 1
    assert undelivered(services) == []
