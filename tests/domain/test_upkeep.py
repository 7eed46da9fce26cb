"""What is over about tokens goes when its time has come, and nothing else."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, insert, select

from authsvc.core.settings import DAY, MINUTE
from authsvc.domain.codes import LIFE, Request
from authsvc.domain.grants import REVOKED
from authsvc.domain.sessions import Origin
from authsvc.models import Base, Code, Grant, RevokedToken, Session, table
from authsvc.services import Services
from tests.conftest import ORIGIN

BACK = "https://app.example/back"
LONG = {"idle": 400 * DAY, "absolute": 400 * DAY}  # so that the session outlives everything here


@pytest.fixture
def services(make_services: Callable[..., Services]) -> Services:
    return make_services(**LONG)


@pytest.fixture
def granted(services: Services) -> Callable[..., str]:
    """Makes grants, each with a code of its own; returns the id."""
    user = services.accounts.create("anna@example.org", "no password")
    origin = Origin("192.0.2.1", "Firefox on Linux")
    own, _ = services.sessions.create(user.id, 0, amr=("pwd",), remember=False, origin=origin)
    client, _ = services.clients.create("app", redirect_uris=(BACK,))

    def make(*, refreshing: bool = True) -> str:
        request = Request(client.id, BACK, ("openid",), ORIGIN, "c" * 43, None)
        code = services.codes.find(services.codes.issue(own, request))
        assert code
        return services.grants.redeem(code, refreshing=refreshing).id

    return make


@pytest.fixture
def left_after(services: Services, make_services: Callable[..., Services]) -> Callable[[type[Base], int], int]:
    """How many rows of a table there are after the clean-up of some time later."""

    def left(model: type[Base], seconds: int) -> int:
        after = make_services(later=seconds, **LONG)
        after.upkeep.clean_up(after.store.clock() + 60)
        with services.db.reading() as sql:
            return sql.scalar(select(func.count()).select_from(model)) or 0

    return left


def test_a_code_is_remembered_for_a_day(
    granted: Callable[..., str], left_after: Callable[[type[Base], int], int]
) -> None:
    """So long its second use is noticed."""
    granted()
    assert left_after(Code, DAY) == 1
    assert left_after(Code, DAY + LIFE + MINUTE) == 0
    assert left_after(Grant, DAY + LIFE + MINUTE) == 1


def test_a_grant_that_has_ended_or_expired_goes_after_a_month(
    services: Services, granted: Callable[..., str], left_after: Callable[[type[Base], int], int]
) -> None:
    services.grants.end(granted(), REVOKED)
    granted(refreshing=False)  # it lives as long as its access token
    staying = granted()
    assert left_after(Grant, 30 * DAY - MINUTE) == 3
    assert left_after(Grant, 30 * DAY + MINUTE) == 2
    assert left_after(Grant, 30 * DAY + 10 * MINUTE) == 1
    with services.db.reading() as sql:
        assert sql.scalars(select(Grant.id)).all() == [staying]
    assert left_after(Session, 31 * DAY) == 1


def test_a_revoked_token_is_remembered_until_it_has_expired_everywhere(
    services: Services, left_after: Callable[[type[Base], int], int]
) -> None:
    expires = int(services.store.clock()) + 5 * MINUTE
    with services.db.transaction() as sql:
        sql.execute(insert(table(RevokedToken)), {"jti": "x", "expires_at": expires})
    assert left_after(RevokedToken, 5 * MINUTE + 30) == 1
    assert left_after(RevokedToken, 7 * MINUTE) == 0
