"""Back-channel logout: whoever a session has logged in to is told of its end, until they have understood."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from sqlalchemy import select

from authsvc.core import jwt
from authsvc.core.crypto import Token, new_id
from authsvc.core.errors import StorageDown
from authsvc.domain import jobs
from authsvc.domain.accounts import Account
from authsvc.domain.clients import Client
from authsvc.domain.jobs import Job, TryLater
from authsvc.domain.sessions import Origin
from authsvc.jobs import logout
from authsvc.jobs.celery import attempt
from authsvc.models import Grant
from authsvc.models import Job as Row
from authsvc.services import Services
from tests.conftest import ORIGIN

EVENT = "http://schemas.openid.net/event/backchannel-logout"


class Application:
    """A client's server: keeps what it is sent, and answers with `status`."""

    def __init__(self) -> None:
        self.status = 204
        self.received: list[dict[str, Any]] = []
        application = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                application.received.append({"type": self.headers["Content-Type"], **parse_qs(body)})
                self.send_response(application.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_address[1]}/logged-out"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def application() -> Iterator[Application]:
    running = Application()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def anna(services: Services) -> Account:
    return services.accounts.create("anna@example.org", "no hash")


@pytest.fixture
def client(services: Services, application: Application) -> Client:
    return register(services, application.uri)


@pytest.fixture
def token(services: Services, anna: Account) -> Token:
    return log_in(services, anna)


def register(services: Services, backchannel_uri: str | None) -> Client:
    made, _ = services.clients.create(
        "App", redirect_uris=("https://app.example.org/cb",), backchannel_uri=backchannel_uri
    )
    return made


def log_in(services: Services, account: Account) -> Token:
    origin = Origin("192.0.2.1", "Firefox on Linux")
    return services.sessions.create(account.id, 0, amr=("pwd",), remember=False, origin=origin)[1]


def grant(services: Services, client: Client, account: Account, token: Token) -> None:
    """What a login of this session at a client leaves."""
    now = int(services.store.clock())
    with services.db.transaction() as sql:
        sql.add(Grant(
            id=new_id(), client_id=client.id, user_id=account.id, sid=token.sid, scope="openid", audience=ORIGIN,
            rotated_at=now, created_at=now, expires_at=now + 3600,
        ))  # fmt: skip


def due(services: Services) -> list[Job]:
    with services.db.reading() as sql:
        ids = sql.scalars(select(Row.id).where(Row.kind == jobs.LOGOUT)).all()
    return [services.jobs.get(each) for each in ids]


def test_the_end_of_a_session_leaves_a_job_for_each_client_that_it_logged_in_to(
    services: Services, anna: Account, client: Client, token: Token
) -> None:
    other, silent = log_in(services, anna), register(services, None)
    for each in (client, client, silent):
        grant(services, each, anna, token)
    grant(services, client, anna, other)

    services.sessions.logout(token)

    assert [(job.data, job.user) for job in due(services)] == [({"client": client.id, "sid": token.sid}, anna.id)]


@pytest.mark.parametrize("end", [
    lambda services, user, _: services.sessions.end_all(user),
    lambda services, user, _: services.sessions.end_others(user, keep="none"),
    lambda services, _, token: services.sessions.end(token.sid),
    lambda services, _, __: services.accounts.disable("anna@example.org"),
])  # fmt: skip
def test_whoever_ends_a_session_its_clients_are_told(
    services: Services, anna: Account, client: Client, token: Token, end: Callable[[Services, str, Token], Any]
) -> None:
    grant(services, client, anna, token)

    end(services, anna.id, token)

    assert len(due(services)) == 1


def test_a_session_that_ends_twice_is_told_of_once(
    services: Services, anna: Account, client: Client, token: Token
) -> None:
    grant(services, client, anna, token)

    services.sessions.logout(token)
    services.sessions.logout(token)

    assert len(due(services)) == 1


@pytest.mark.promise("L4")
def test_an_end_that_is_rolled_back_tells_nobody(
    services: Services, anna: Account, client: Client, token: Token
) -> None:
    grant(services, client, anna, token)

    with suppress(StorageDown), services.db.transaction() as sql:
        services.sessions.end_within(sql, token.sid)
        raise StorageDown

    assert due(services) == []


def test_the_client_is_sent_a_token_that_it_can_check(
    services: Services, anna: Account, client: Client, token: Token, application: Application
) -> None:
    grant(services, client, anna, token)
    services.sessions.logout(token)
    (job,) = due(services)

    attempt(services, job.id, "message")

    assert services.jobs.get(job.id).done
    (received,) = application.received
    assert received["type"] == "application/x-www-form-urlencoded"
    claims = jwt.verify(
        received["logout_token"][0], services.keys.public(), typ="logout+jwt", issuer=ORIGIN, audience=client.id,
        now=services.store.clock(),
    )  # fmt: skip
    assert (claims["sub"], claims["sid"], claims["events"]) == (anna.id, token.sid, {EVENT: {}})
    assert claims["exp"] - claims["iat"] == 120
    assert "nonce" not in claims


@pytest.mark.promise("L4")
@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
def test_a_client_that_has_not_understood_is_told_again_under_the_same_id(
    services: Services, anna: Account, client: Client, token: Token, application: Application, status: int
) -> None:
    grant(services, client, anna, token)
    services.sessions.logout(token)
    (job,) = due(services)

    application.status = status
    attempt(services, job.id, "first")
    application.status = 200
    attempt(services, job.id, "second")

    assert services.jobs.get(job.id).done
    ids = [
        jwt.verify(
            each["logout_token"][0], services.keys.public(), typ="logout+jwt", issuer=ORIGIN, audience=client.id,
            now=services.store.clock(),
        )["jti"]
        for each in application.received
    ]  # fmt: skip
    assert ids == [job.id, job.id]


def test_a_client_that_cannot_be_reached_is_tried_again(services: Services, anna: Account, token: Token) -> None:
    grant(services, register(services, "http://127.0.0.1:1/logged-out"), anna, token)
    services.sessions.logout(token)
    (job,) = due(services)

    with pytest.raises(TryLater, match="ConnectError"):
        logout.deliver(job, services)


def test_a_client_that_is_gone_is_not_told(
    services: Services, make_services: Callable[..., Services], anna: Account, client: Client, token: Token,
    application: Application,
) -> None:  # fmt: skip
    grant(services, client, anna, token)
    services.sessions.logout(token)
    (job,) = due(services)

    services.grants.delete_client(client.id)
    attempt(make_services(), job.id, "message")

    assert services.jobs.get(job.id).done
    assert application.received == []
