"""A user who is logged in, and a client that asks for something of theirs."""

from collections.abc import Callable

import pytest

from authsvc.core.crypto import Token
from authsvc.core.errors import GrantRefused
from authsvc.core.session import Session
from authsvc.domain.codes import Request
from authsvc.domain.grants import ENDED_GRANTS, Granted
from authsvc.domain.sessions import Origin
from authsvc.services import Services

CALLBACK = "https://shop.example/cb"
CHALLENGE = "c" * 43


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


def refused(attempt: Callable[[], object]) -> str:
    with pytest.raises(GrantRefused) as error:
        attempt()
    return error.value.detail
