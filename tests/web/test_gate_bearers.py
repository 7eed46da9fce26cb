"""B6: forward-auth with `Authorization: Bearer`, which alone decides then."""

import base64
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.test import TestResponse

from authsvc.core.crypto import read_token
from authsvc.core.errors import StorageDown
from authsvc.core.session import Session
from authsvc.domain.accounts import Account
from authsvc.services import Services
from authsvc.web.app import create_app
from tests.conftest import ORIGIN
from tests.servers import Valkey
from tests.web.conftest import cookie_of, login
from tests.web.oauth_clients import NOTES, a_service, an_app, granted

pytestmark = pytest.mark.promise("B6")
MakeServices = Callable[..., Services]


@pytest.fixture
def services(make_services: MakeServices) -> Services:
    return make_services(audiences=(NOTES,), scopes=("notes:read",))


@pytest.fixture
def own(client: FlaskClient, anna: Account, services: Services) -> Session:
    login(client)
    token = read_token(services.keyring, cookie_of(client))
    session = services.sessions.load(token) if token else None
    assert session
    return session


@pytest.fixture
def access(services: Services, own: Session) -> str:
    return services.tokens.of_session(own, client_id="authsvc-session", scope="", audience=ORIGIN)


@pytest.fixture
def key(services: Services, anna: Account) -> str:
    return services.api_keys.create(anna.id, "backup")[1]


@pytest.fixture
def program(app: Flask) -> FlaskClient:
    """It has no cookie."""
    return app.test_client(use_cookies=False)


def ask(client: FlaskClient, token: str, query: str = "", **headers: str) -> TestResponse:
    return client.get(f"/forward-auth{query}", headers={"Authorization": f"Bearer {token}", **headers})


def refusal(answer: TestResponse) -> tuple[int, str]:
    assert not [name for name, _ in answer.headers if name.startswith("X-Auth-")]
    assert "Location" not in answer.headers
    return answer.status_code, answer.get_json()["code"]


def told(answer: TestResponse) -> dict[str, str]:
    assert answer.status_code == 200
    return {name: value for name, value in answer.headers if name.startswith("X-Auth-")}


# -- let through ---------------------------------------------------------------------------------------------------


def test_the_token_of_a_session_is_as_good_as_its_cookie(
    program: FlaskClient, client: FlaskClient, access: str
) -> None:
    assert told(ask(program, access)) == told(client.get("/forward-auth"))


def test_an_api_key_names_its_owner_and_no_session(program: FlaskClient, anna: Account, key: str) -> None:
    assert told(ask(program, key)) == {
        "X-Auth-User": anna.id, "X-Auth-Email": "anna@example.org", "X-Auth-Name": "Anna", "X-Auth-Roles": "editor",
        "X-Auth-Session": "", "X-Auth-Amr": "",
    }  # fmt: skip


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer ", "bEaReR  "])
def test_the_scheme_has_any_case(program: FlaskClient, access: str, scheme: str) -> None:
    answer = program.get("/forward-auth", headers={"Authorization": f"{scheme} {access} "})
    assert answer.status_code == 200


def test_a_client_that_a_person_lets_in_so_far_is_let_through(
    program: FlaskClient, own: Session, services: Services
) -> None:
    app = an_app(services)
    token = services.tokens.of_session(own, client_id=app.id, scope="forward-auth", audience=ORIGIN, grant="g")
    assert told(ask(program, token))["X-Auth-Session"] == own.sid


def test_roles_are_those_of_now(program: FlaskClient, anna: Account, services: Services, access: str, key: str) -> None:
    for token in (access, key):
        services.accounts.set_roles(anna.email, ("editor",))
        assert ask(program, token, "?role=editor").status_code == 200
        assert refusal(ask(program, token, "?role=admin")) == (403, "forbidden")
        services.accounts.set_roles(anna.email, ("admin",))
        assert ask(program, token, "?role=admin").status_code == 200


def test_other_schemes_are_the_applications_own(client: FlaskClient, own: Session, program: FlaskClient) -> None:
    password = base64.b64encode(b"anna:pw").decode()
    for header in (f"Basic {password}", 'Digest username="anna", realm="bearer"', "Token abc", "", "Bearerish abc"):
        answer = client.get("/forward-auth", headers={"Authorization": header})
        assert answer.headers["X-Auth-User"] == own.user
        assert program.get("/forward-auth", headers={"Authorization": header}).status_code == 401


# -- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "Bearer", "Bearer ", "bearer\t{0}", "Bearer {0}x", "Bearer {0} {0}", "Bearer {0},Bearer {0}", "Bearer {0},",
        "Bearer {0}, Basic YTpi", "Basic YTpi,Bearer {0}", "Basic YTpi, bearer x", "Bearer \xff\xfe", "Bearer {0}\x00",
        'Bearer "{0}"', "Bearer x", "Bearer a.b.c", "bearer ask_x", "Bearer art_x", ",Bearer {0}", "Bearer={0}, bearer",
    ],
)  # fmt: skip
def test_a_header_that_is_not_clear_or_not_good_lets_nobody_through_whatever_the_cookie(
    client: FlaskClient, access: str, header: str
) -> None:
    answer = client.get("/forward-auth", headers={"Authorization": header.format(access)})
    assert refusal(answer) == (401, "invalid_token")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="authsvc", error="invalid_token"'


def test_a_huge_one_costs_nothing(client: FlaskClient, access: str, services: Services) -> None:
    statements: list[str] = []
    event.listen(services.db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for token in (access + "A" * 60_000, "A" * 60_000, "ask_" + "A" * 60_000, "." * 60_000, "=" * 60_000):
        assert refusal(ask(client, token)) == (401, "invalid_token")
    assert statements == []


@pytest.mark.promise("R5")
def test_after_the_logout_nobody_is_let_through(client: FlaskClient, program: FlaskClient, access: str) -> None:
    assert ask(program, access).status_code == 200
    client.post("/api/logout")
    assert refusal(ask(program, access)) == (401, "invalid_token")


def test_a_revoked_key_lets_nobody_through(program: FlaskClient, services: Services, anna: Account, key: str) -> None:
    assert ask(program, key).status_code == 200
    services.api_keys.revoke(anna.id, services.api_keys.of_user(anna.id)[0].id)
    assert refusal(ask(program, key)) == (401, "invalid_token")


def test_a_token_for_another_service_is_not_for_us(program: FlaskClient, own: Session, services: Services) -> None:
    token = services.tokens.of_session(own, client_id="authsvc-session", scope="forward-auth", audience=NOTES)
    assert refusal(ask(program, token)) == (401, "invalid_token")


def test_a_token_that_does_not_allow_it_is_refused(
    program: FlaskClient, own: Session, anna: Account, services: Services
) -> None:
    access, refresh = granted(services, an_app(services), own)
    _, key = services.api_keys.create(anna.id, "notes", wanted=("notes:read",))
    for token in (access, key):
        answer = ask(program, token)
        assert refusal(answer) == (403, "insufficient_scope")
        assert answer.headers["WWW-Authenticate"] == (
            'Bearer realm="authsvc", error="insufficient_scope", scope="forward-auth"'
        )
    assert refusal(ask(program, refresh)) == (401, "invalid_token")


def test_a_service_is_nobody(program: FlaskClient, services: Services) -> None:
    service = a_service(services, wanted_scopes=("forward-auth",))
    token = services.tokens.of_client(service.id, scope="forward-auth", audience=ORIGIN)
    assert refusal(ask(program, token)) == (403, "forbidden")


def test_a_login_too_long_ago_must_be_proved_again(
    make_services: MakeServices, own: Session, key: str, access: str
) -> None:
    later = create_app(make_services(later=200)).test_client(use_cookies=False)
    assert ask(later, access, "?max_age=3600").status_code == 200
    page = {"X-Forwarded-Uri": "/app/page", "Accept": "text/html"}
    answer = ask(later, access, "?max_age=60", **page)
    assert refusal(answer) == (401, "insufficient_user_authentication")
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer realm="authsvc", error="insufficient_user_authentication", max_age="60"'
    )
    assert refusal(ask(later, key, "?max_age=999999999")) == (401, "insufficient_user_authentication")


@pytest.mark.parametrize("query", ["?role=", "?role", "?max_age=-1", "?role=editor&role=admin", "?max_age=1&max_age=2"])
def test_a_demand_that_is_not_clear_lets_nobody_through(program: FlaskClient, access: str, query: str) -> None:
    assert ask(program, access, query).status_code in (403, 503)


def test_without_any_store_nobody_is_let_through(
    program: FlaskClient, services: Services, access: str, key: str, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token in (access, key):
        assert ask(program, token).status_code == 200
    valkey.kill()
    for token in (access, key):
        assert ask(program, token).status_code == 200  # by SQL

    def broken() -> None:
        raise StorageDown

    monkeypatch.setattr(services.db, "reading", broken)
    for token in (access, key):
        answer = ask(program, token)
        assert refusal(answer) == (503, "storage_unavailable")
        assert answer.headers["Retry-After"]


def test_a_bearer_asks_redis_once_and_sql_not_at_all(
    program: FlaskClient, access: str, services: Services, valkey: Valkey
) -> None:
    ask(program, access)
    statements: list[str] = []
    event.listen(services.db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    with valkey.client() as client:
        before = client.info("commandstats")["cmdstat_get"]["calls"]
        for _ in range(3):
            assert ask(program, access).status_code == 200
        assert client.info("commandstats")["cmdstat_get"]["calls"] - before == 3
    assert statements == []
