"""RFC 7662: what a service learns about a token, and that nobody else learns anything."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from authsvc.core.crypto import read_token
from authsvc.core.errors import StorageDown
from authsvc.core.session import Session
from authsvc.domain.accounts import Account
from authsvc.domain.tokens import ACCESS_LIFE
from authsvc.services import Services
from tests.conftest import ORIGIN
from tests.servers import Valkey
from tests.web.conftest import cookie_of, login
from tests.web.oauth_clients import NOTES, Application, a_service, an_app, basic, granted, introspect

INACTIVE = {"active": False}
PATH = "/oauth/introspect"


@pytest.fixture
def services(make_services: Callable[..., Services]) -> Services:
    return make_services(audiences=(NOTES,), scopes=("notes:read",))


@pytest.fixture
def own(client: FlaskClient, anna: Account, services: Services) -> Session:
    login(client)
    token = read_token(services.keyring, cookie_of(client))
    assert token
    session = services.sessions.load(token)
    assert session
    return session


@pytest.fixture
def asking(services: Services) -> Application:
    return a_service(services)


def own_token(client: FlaskClient, **wanted: str) -> str:
    token: str = client.post("/api/token", json=wanted).get_json()["access_token"]
    return token


# -- what is told --------------------------------------------------------------------------------------------------


def test_the_token_of_a_session_is_described(client: FlaskClient, own: Session, asking: Application) -> None:
    token = own_token(client, scope="notes:read email")

    found = introspect(client, asking, token)

    issued = found["iat"]
    assert found.pop("jti")
    assert found == {
        "active": True, "iss": ORIGIN, "sub": own.user, "aud": ORIGIN, "client_id": "authsvc-session",
        "scope": "notes:read email", "iat": issued, "exp": issued + ACCESS_LIFE, "token_type": "Bearer",
        "username": "anna@example.org", "roles": ["editor"], "sid": own.sid, "auth_time": own.authenticated,
        "amr": ["pwd"], "acr": "aal1",
    }  # fmt: skip


def test_the_answer_is_json_that_nobody_keeps(client: FlaskClient, own: Session, asking: Application) -> None:
    answer = client.post(PATH, data={"token": own_token(client)}, headers=asking.basic)
    assert (answer.mimetype, answer.headers["Cache-Control"]) == ("application/json", "no-store")
    assert "username" not in answer.get_json()  # nobody asked for the email


@pytest.mark.promise("R5")
@pytest.mark.usefixtures("own")
def test_after_the_logout_it_is_not_active_at_once(client: FlaskClient, asking: Application) -> None:
    token = own_token(client)
    assert introspect(client, asking, token)["active"]
    client.post("/api/logout")
    assert introspect(client, asking, token) == INACTIVE


def test_roles_are_those_of_now(client: FlaskClient, own: Session, asking: Application, services: Services) -> None:
    token = own_token(client)
    services.accounts.set_roles(own.email, ("admin",))
    assert introspect(client, asking, token)["roles"] == ["admin"]


def test_a_client_sees_what_it_has_got_itself(client: FlaskClient, own: Session, services: Services) -> None:
    app = an_app(services, audiences=(NOTES,))
    access, refresh = granted(services, app, own, audience=NOTES)

    by_access, by_refresh = introspect(client, app, access), introspect(client, app, refresh)

    assert (by_access["client_id"], by_access["aud"], by_access["sid"]) == (app.id, NOTES, own.sid)
    assert (by_refresh["client_id"], by_refresh["scope"], by_refresh["sub"]) == (app.id, "openid email", own.user)
    assert "token_type" not in by_refresh
    services.sessions.end(own.sid)
    assert introspect(client, app, access) == introspect(client, app, refresh) == INACTIVE


def test_a_refresh_token_that_was_used_is_not_active(client: FlaskClient, own: Session, services: Services) -> None:
    app = an_app(services)
    _, refresh = granted(services, app, own)
    following = services.grants.refresh(app.id, refresh).refresh
    assert following
    assert introspect(client, app, refresh) == INACTIVE
    assert introspect(client, app, following, token_type_hint="access_token")["active"]  # a hint is a hint


def test_a_services_own_token_is_about_nobody(client: FlaskClient, services: Services, asking: Application) -> None:
    token = services.tokens.of_client(asking.id, scope="publish", audience=ORIGIN)
    found = introspect(client, asking, token)
    assert (found["sub"], found["client_id"], found["scope"]) == (asking.id, asking.id, "publish")
    assert not found.keys() & {"sid", "roles", "amr", "acr", "auth_time", "username"}


def test_an_api_key_is_its_owners(client: FlaskClient, anna: Account, services: Services, asking: Application) -> None:
    key, text = services.api_keys.create(anna.id, "backup", wanted=("notes:read",))
    found = introspect(client, asking, text)
    assert (found["sub"], found["scope"], found["jti"], found["roles"]) == (anna.id, "notes:read", key.id, ["editor"])
    assert not found.keys() & {"sid", "exp", "amr", "client_id", "auth_time"}
    services.api_keys.revoke(anna.id, key.id)
    assert introspect(client, asking, text) == INACTIVE


# -- what is not ---------------------------------------------------------------------------------------------------


def test_a_token_for_another_service_is_none_of_its_business(
    client: FlaskClient, own: Session, services: Services, asking: Application
) -> None:
    notes = a_service(services, audiences=(NOTES,))
    for_notes, for_us = own_token(client, audience=NOTES), own_token(client)
    assert introspect(client, notes, for_notes)["active"]
    assert introspect(client, asking, for_notes) == INACTIVE
    assert introspect(client, notes, for_us) == INACTIVE


def test_a_refresh_token_is_its_clients_alone(client: FlaskClient, own: Session, services: Services) -> None:
    app, other = an_app(services), an_app(services)
    _, refresh = granted(services, app, own)
    assert introspect(client, other, refresh) == INACTIVE


@pytest.mark.parametrize("token", ["x", "a.b.c", "ask_" + "A" * 88, "art_" + "A" * 51, "é", "\0", "a" * 60_000, "."])
def test_what_we_have_never_made_is_not_active(client: FlaskClient, asking: Application, token: str) -> None:
    assert introspect(client, asking, token) == INACTIVE


def test_a_cookie_is_not_introspected(client: FlaskClient, own: Session, asking: Application) -> None:
    assert introspect(client, asking, cookie_of(client)) == INACTIVE


@pytest.mark.usefixtures("own")
def test_strangers_and_public_clients_learn_nothing(
    client: FlaskClient, services: Services, asking: Application
) -> None:
    public, token = an_app(services, public=True), own_token(client)
    for headers, fields in (
        ({}, {}), (basic(asking.id, "wrong"), {}), (basic("nobody", "x"), {}), ({}, public.fields),
        (basic(public.id, ""), {}), ({}, {"client_id": asking.id}), ({}, {"client_secret": str(asking.secret)}),
        ({}, {"client_id": asking.id, "client_secret": "wrong"}), (asking.basic, asking.fields),
        ({"Authorization": f"Bearer {token}"}, {}), ({"Authorization": "Basic !"}, {}),
        ({"Authorization": "Basic \xff"}, {}),
    ):  # fmt: skip
        answer = client.post(PATH, data={"token": token, **fields}, headers=headers)
        assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client")
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert "active" not in answer.get_json()


@pytest.mark.usefixtures("own")
def test_the_secret_may_come_in_the_form(client: FlaskClient, asking: Application) -> None:
    answer = client.post(PATH, data={"token": own_token(client), **asking.fields})
    assert answer.get_json()["active"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"data": "token=a&token=a"}, 400), ({"data": ""}, 400), ({"data": "token="}, 400),
        ({"data": "&".join(f"a{n}=1" for n in range(99))}, 400), ({"data": b"token=\xff\xfe"}, 400),
        ({"data": '{"token": "a"}', "content_type": "application/json"}, 400),
        ({"data": "token=a", "content_type": "text/plain"}, 400), ({"data": "token=a", "content_type": ""}, 400),
        ({"data": "token=" + "a" * 70_000}, 413), ({"data": "token=a", "method": "GET"}, 405),
        ({"data": "token=a", "method": "PUT"}, 405), ({"method": "OPTIONS"}, 405), ({"method": "BREW"}, 405),
    ],
)  # fmt: skip
def test_what_is_no_such_request_is_refused(
    client: FlaskClient, asking: Application, sent: dict[str, str], status: int
) -> None:
    form = {"method": "POST", "content_type": "application/x-www-form-urlencoded", "headers": asking.basic}
    answer = client.open(PATH, **{**form, **sent})
    assert (answer.status_code, answer.get_json()["error"]) == (status, "invalid_request")
    assert ("Allow" in answer.headers) == (status == 405)


# -- how fast, and when nobody can tell ----------------------------------------------------------------------------


@pytest.mark.usefixtures("own")
def test_a_question_asks_redis_once_and_sql_not_at_all(
    client: FlaskClient, services: Services, asking: Application, valkey: Valkey
) -> None:
    token = own_token(client)
    introspect(client, asking, token)
    statements: list[str] = []
    event.listen(services.db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    with valkey.client() as redis:
        before = redis.info("commandstats")["cmdstat_get"]["calls"]
        for _ in range(3):
            introspect(client, asking, token)
        assert redis.info("commandstats")["cmdstat_get"]["calls"] - before == 3
    assert statements == []


def test_a_secret_that_was_replaced_is_refused(client: FlaskClient, services: Services, asking: Application) -> None:
    introspect(client, asking, "x")
    services.clients.rotate_secret(asking.id)
    assert client.post(PATH, data={"token": "x"}, headers=asking.basic).status_code == 401


@pytest.mark.usefixtures("own")
def test_without_any_store_no_token_is_active(
    client: FlaskClient, services: Services, asking: Application, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = own_token(client)
    valkey.kill()
    assert introspect(client, asking, token)["active"]  # by SQL

    def broken() -> None:
        raise StorageDown

    monkeypatch.setattr(services.db, "reading", broken)
    answer = client.post(PATH, data={"token": token}, headers=asking.basic)
    assert (answer.status_code, answer.get_json()["error"]) == (503, "temporarily_unavailable")
    assert answer.headers["Retry-After"]


@pytest.mark.usefixtures("own")
def test_a_fault_of_ours_is_no_answer(
    client: FlaskClient, services: Services, asking: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = own_token(client)

    def broken(*_: object) -> None:
        raise OSError("of our own making")

    monkeypatch.setattr(type(services.bearers), "check", broken)
    answer = client.post(PATH, data={"token": token}, headers=asking.basic)
    assert answer.status_code == 503
    assert "active" not in answer.get_json()
