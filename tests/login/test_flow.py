"""Logging in: the same answer and the same work for everyone who may not."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event, select

from authsvc.core import events
from authsvc.core.errors import InvalidCredentials
from authsvc.domain.accounts import Account
from authsvc.domain.sessions import Origin
from authsvc.login.flow import Caller
from authsvc.models import Event
from authsvc.services import Services
from tests.conftest import PASSWORD

ANNA = "anna@example.org"
CALLER = Caller(Origin("192.0.2.1", "Firefox on Linux"))


@pytest.fixture
def anna(services: Services) -> Account:
    return services.accounts.create(ANNA, services.hasher.hash(PASSWORD), name="Anna", roles=("editor",))


@pytest.fixture
def work(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What an attempt costs: each SQL statement and each password that is compared."""
    done: list[str] = []
    verify = services.hasher._argon2.verify

    def counted(*args: Any) -> bool:
        done.append("argon2")
        return verify(*args)

    def executed(*args: Any) -> None:
        done.append(" ".join(args[2].split()[:3]))

    monkeypatch.setattr(type(services.hasher._argon2), "verify", lambda _, *args: counted(*args))
    event.listen(services.db.engine, "before_cursor_execute", executed)
    yield done
    event.remove(services.db.engine, "before_cursor_execute", executed)


def refused(services: Services, email: str, password: str) -> str:
    with pytest.raises(InvalidCredentials) as error:
        services.login.with_password(email, password, remember=False, caller=CALLER)
    return f"{error.value.code}: {error.value.detail}"


@pytest.mark.usefixtures("anna")
def test_the_right_password_makes_a_session(services: Services) -> None:
    session, token = services.login.with_password(ANNA, PASSWORD, remember=True, caller=CALLER)

    assert services.sessions.load(token) == session
    assert (session.email, session.roles, session.amr, session.device) == (
        ANNA,
        ("editor",),
        ("pwd",),
        "Firefox on Linux",
    )
    assert session.idle == services.settings.idle_remember


@pytest.mark.usefixtures("anna")
def test_the_session_that_login_returns_is_the_one_in_sql(services: Services) -> None:
    for remember in (False, True):
        session, token = services.login.with_password(ANNA, PASSWORD, remember=remember, caller=CALLER)
        assert services.sessions.selecting(token.sid)().session == session


@pytest.mark.promise("B3")
@pytest.mark.usefixtures("anna")
def test_everyone_who_may_not_gets_the_same_answer_for_the_same_work(services: Services, work: list[str]) -> None:
    services.accounts.create("bob@example.org", services.hasher.hash(PASSWORD))
    services.accounts.disable("bob@example.org")
    answers, costs = set(), []
    for email, password in [
        (ANNA, "a wrong password"),
        ("nobody@example.org", PASSWORD),
        ("bob@example.org", PASSWORD),
        ("bob@example.org", "a wrong password"),
        ("no address at all", "a wrong password"),
    ]:
        work.clear()
        answers.add(refused(services, email, password))
        costs.append(list(work))

    assert len(answers) == 1
    assert costs[0].count("argon2") == 1
    assert costs == [costs[0]] * 5


@pytest.mark.promise("B1")
@pytest.mark.usefixtures("anna")
@pytest.mark.parametrize(
    "email",
    [
        "",
        "\0",
        "\ud800@example.org",
        "anna@example.org\0",
        "a" * 100_000,
        "\uff41\uff4e@x\u2028.org",
        "'--",
        "\U0010ffff" * 300,
    ],
)
def test_odd_text_in_either_field_is_a_wrong_login(services: Services, email: str) -> None:
    refused(services, email, PASSWORD)
    refused(services, ANNA, email)


@pytest.mark.promise("B7")
@pytest.mark.usefixtures("anna")
def test_a_failure_is_written_down_without_what_was_typed(services: Services) -> None:
    refused(services, "my secret password", "wrong")

    with services.db.reading() as sql:
        fact = sql.scalars(select(Event).where(Event.name == events.LOGIN_FAILED)).one()
    assert fact.account
    assert "secret" not in str([fact.account, fact.data, fact.ip, fact.user_id])
    assert fact.ip == "192.0.2.1"


def test_a_login_stores_the_password_anew_when_the_parameters_have_risen(
    make_services: Callable[..., Services],
) -> None:
    before, after = make_services(argon2_time_cost=1), make_services(argon2_time_cost=2)
    before.accounts.create(ANNA, before.hasher.hash(PASSWORD))

    refused(after, ANNA, "wrong")
    assert _stored(after).count("t=1")
    after.login.with_password(ANNA, PASSWORD, remember=False, caller=CALLER)

    assert _stored(after).count("t=2")
    after.login.with_password(ANNA, PASSWORD, remember=False, caller=CALLER)
    assert _stored(after) == _stored(before)


def test_a_rehash_does_not_overwrite_a_password_that_was_changed_meanwhile(services: Services, anna: Account) -> None:
    old = _stored(services)
    services.accounts.rehashed(anna.id, old, "changed")

    services.accounts.rehashed(anna.id, old, "rehash of the old one")

    assert _stored(services) == "changed"


def _stored(services: Services) -> str:
    credentials = services.accounts.known(ANNA).account
    assert credentials
    return credentials.password
