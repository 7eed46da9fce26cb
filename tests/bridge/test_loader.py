"""The SQL loader that the servers hand to the bridge, on each kind of database."""

import asyncio
from collections.abc import Callable

import pytest

from authsvc.services import Services
from tests.bridge.conftest import Bridge, Person, closed, greeted


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


async def test_a_session_is_found_and_its_end_too(
    start_bridge: Callable[..., Bridge], anna: Person, services: Services
) -> None:
    bridge = start_bridge()
    token, cookie = anna.browser()
    async with asyncio.timeout(30), bridge.socket(cookie) as socket:
        assert (await greeted(socket))["user"] == anna.account.id
        services.sessions.logout(token)
        assert await closed(socket) == 4401
    assert bridge.get(cookie).status_code == 204
