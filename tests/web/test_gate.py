"""B6: forward-auth lets through who is logged in, says who that is, and refuses on any doubt."""

from collections.abc import Callable
from urllib.parse import unquote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from werkzeug.test import TestResponse

from authsvc.domain.accounts import Account
from authsvc.services import Services
from authsvc.web.app import create_app
from tests.conftest import PASSWORD
from tests.servers import Valkey
from tests.web.conftest import cookie_of, login

pytestmark = pytest.mark.promise("B6")
PAGE = {"X-Forwarded-Uri": "/app/page?a=1&b=2", "Accept": "text/html,application/xhtml+xml"}
MakeServices = Callable[..., Services]


@pytest.fixture
def inside(client: FlaskClient, anna: Account) -> FlaskClient:
    login(client)
    return client


def code(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


# -- let through ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/forward-auth", "/forward-auth/", "/forward-auth/app/x", "/forward-auth/../x"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "PROPFIND", "BREW"])
def test_who_is_logged_in_is_let_through_and_named(inside: FlaskClient, anna: Account, path: str, method: str) -> None:
    answer = inside.open(path, method=method)
    assert (answer.status_code, answer.get_data()) == (200, b"")
    told = {name: value for name, value in answer.headers if name.startswith("X-Auth-")}
    sid = told.pop("X-Auth-Session")
    assert sid == inside.get("/api/session").get_json()["session"]["sid"]
    assert told == {
        "X-Auth-User": anna.id, "X-Auth-Email": "anna@example.org", "X-Auth-Name": "Anna", "X-Auth-Roles": "editor",
        "X-Auth-Amr": "pwd",
    }  # fmt: skip
    assert answer.headers["Cache-Control"] == "no-store"


def test_names_of_any_kind_become_headers_of_ascii(app: Flask, services: Services) -> None:
    name, email = "Zoë 王 %0d%0aX-Auth-Roles: admin, \"'", "zoë+tag@bücher.example"
    services.accounts.create(email, services.hasher.hash(PASSWORD), name=name)
    client = app.test_client()
    login(client, email)
    answer = client.get("/forward-auth")
    assert all(value.isascii() and value.isprintable() for _, value in answer.headers)
    assert unquote(answer.headers["X-Auth-Name"]) == name
    assert unquote(answer.headers["X-Auth-Email"]) == email
    assert answer.headers.getlist("X-Auth-Roles") == [""]


def test_a_check_asks_redis_once_and_sql_not_at_all(inside: FlaskClient, services: Services, valkey: Valkey) -> None:
    inside.get("/forward-auth")
    statements: list[str] = []
    event.listen(services.db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    with valkey.client() as client:
        before = client.info("commandstats")
        for _ in range(3):
            assert inside.get("/forward-auth").status_code == 200
        after = client.info("commandstats")
    asked = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
    assert asked["cmdstat_get"] == 3
    assert {name for name, calls in asked.items() if calls} == {"cmdstat_get", "cmdstat_info"}
    assert statements == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("role=editor", 200), ("role=admin", 403), ("role=", 403), ("role=Editor", 403), ("role=editor,admin", 403),
        ("max_age=3600", 200), ("role=editor&max_age=60", 200), ("role=%65ditor", 200),
    ],
)  # fmt: skip
def test_a_role_can_be_asked_for(inside: FlaskClient, query: str, status: int) -> None:
    answer = inside.get(f"/forward-auth?{query}")
    assert answer.status_code == status
    assert "Location" not in answer.headers
    if status == 403:
        assert code(answer) == (403, "forbidden")


def test_a_login_too_long_ago_must_be_proved_again(inside: FlaskClient, make_services: MakeServices) -> None:
    later = create_app(make_services(later=600)).test_client()
    later.set_cookie("session", cookie_of(inside), domain="localhost")
    answer = later.get("/forward-auth?max_age=60")
    assert code(answer) == (403, "step_up_required")
    page = later.get("/forward-auth?max_age=60", headers=PAGE)
    assert (page.status_code, page.headers["Location"]) == (302, "/login?reauth=1&next=/app/page%3Fa%3D1%26b%3D2")
    assert later.get(page.headers["Location"]).headers["Location"].startswith("/reauthenticate?next=")
    assert later.get("/forward-auth?max_age=3600").status_code == 200


# -- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "role", "role=editor&role=admin", "role=admin&role=editor", "max_age=", "max_age=-1", "max_age=1e9",
        "max_age=9999999999", "max_age=%D9%A1", "role=%ff", "max_age=60&max_age=60", "role=editor;max_age=1",
        "x=1&role=admin&y=2", "max_age=60&role=editor&max_age=90",
    ],
)  # fmt: skip
def test_a_demand_that_is_not_met_or_not_clear_lets_nobody_through(inside: FlaskClient, query: str) -> None:
    assert inside.get(f"/forward-auth?{query}").status_code in (403, 503)


@pytest.mark.parametrize("query", ["x=1", "&", "%00", "q=100%", "%ff=%ff", "x;y", "Role=admin", "x=role=admin"])
def test_the_query_of_the_request_itself_is_no_demand(inside: FlaskClient, query: str) -> None:
    assert inside.get(f"/forward-auth?{query}").status_code == 200


@pytest.mark.parametrize("cookie", ["", "session=", "session=x", "session={0}x", "session={0}; session={0}",
                                    "session={0}; session=", 'session="{0}"', "Session={0}", "session = {0}\x00",
                                    "session=" + "A" * 8192])  # fmt: skip
def test_a_cookie_that_is_not_ours_lets_nobody_through(inside: FlaskClient, app: Flask, cookie: str) -> None:
    stranger = app.test_client(use_cookies=False)
    answer = stranger.get("/forward-auth", headers={"Cookie": cookie.format(cookie_of(inside))})
    assert code(answer) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"]
    assert answer.headers["Location"] == "/login"
    assert not [name for name, _ in answer.headers if name.startswith("X-Auth-")]


def test_after_the_logout_nobody_is_let_through(inside: FlaskClient, app: Flask) -> None:
    thief = app.test_client()
    thief.set_cookie("session", cookie_of(inside))
    assert thief.get("/forward-auth").status_code == 200
    inside.post("/api/logout")
    assert thief.get("/forward-auth").status_code == 401


def test_what_a_client_says_of_itself_is_not_believed(app: Flask) -> None:
    spoofed = {"X-Auth-User": "admin", "X-Auth-Roles": "admin", "X-Forwarded-User": "admin", "Remote-User": "admin"}
    answer = app.test_client().get("/forward-auth", headers=spoofed)
    assert answer.status_code == 401
    assert "admin" not in str(answer.headers)


def test_without_any_store_nobody_is_let_through(
    inside: FlaskClient, services: Services, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inside.get("/forward-auth").status_code == 200
    valkey.kill()
    assert inside.get("/forward-auth").status_code == 200  # from SQL

    def broken(*_: object) -> None:
        raise OSError("of our own making")

    monkeypatch.setattr(services.sessions, "load", broken)
    answer = inside.get("/forward-auth")
    assert code(answer) == (503, "unavailable")
    assert answer.headers["Retry-After"]


# -- the way to the login ------------------------------------------------------------------------------------------


def test_a_person_is_led_to_the_login_and_back(app: Flask, anna: Account) -> None:
    answer = app.test_client().get("/forward-auth", headers=PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login?next=/app/page%3Fa%3D1%26b%3D2")
    person = app.test_client()
    form = {"email": anna.email, "password": PASSWORD, "next": "/app/page?a=1&b=2"}
    assert person.post("/login", data=form).headers["Location"] == "/app/page?a=1&b=2"


@pytest.mark.parametrize(
    "headers",
    [
        {**PAGE, "X-Forwarded-Method": "POST"}, {**PAGE, "Accept": "application/json"},
        {"X-Original-Uri": PAGE["X-Forwarded-Uri"], "Accept": "text/html"},
    ],
)  # fmt: skip
def test_others_get_a_401_that_names_it(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.get("/forward-auth", headers=headers)
    assert (answer.status_code, answer.headers["Location"]) == (401, "/login?next=/app/page%3Fa%3D1%26b%3D2")


@pytest.mark.parametrize(
    "uri",
    ["//evil.example", "/\\evil.example", "https://evil.example/", "javascript:alert(1)", "/a\tb", "", "x", "/" * 3000,
     "/\x7f", "/ü", "/" + "x" * 3000],
)  # fmt: skip
def test_nobody_is_led_to_another_site(client: FlaskClient, uri: str) -> None:
    headers = {**PAGE, "X-Forwarded-Uri": uri.encode().decode("latin-1")}
    assert client.get("/forward-auth", headers=headers).headers["Location"] == "/login"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:8000.evil.example", "127.0.0.1:8000, evil.example", ""])
def test_a_page_of_another_host_leads_to_our_login_and_not_back(client: FlaskClient, host: str) -> None:
    answer = client.get("/forward-auth", headers={**PAGE, "X-Forwarded-Host": host})
    assert answer.headers["Location"] == "http://127.0.0.1:8000/login"
