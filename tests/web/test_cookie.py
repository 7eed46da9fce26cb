"""flask.session on our store, as the service's own pages use it."""

from collections.abc import Callable

import pytest
from flask import Flask, Response, request, session
from flask.testing import FlaskClient

from authsvc.services import Services
from authsvc.web.app import create_app
from tests.servers import Valkey
from tests.web.conftest import cookie_of, login

pytestmark = pytest.mark.usefixtures("anna")


@pytest.fixture
def app(services: Services) -> Flask:
    """The service with pages that use flask.session."""
    app = create_app(services)

    @app.post("/set")
    def set_keys() -> dict[str, object]:
        session.update(request.get_json())
        return dict(session)

    @app.get("/get")
    def get_keys() -> dict[str, object]:
        return dict(session)

    @app.post("/append/<key>")
    def append(key: str) -> Response:
        session.setdefault(key, []).append("more")
        return Response(status=204)

    @app.post("/remove/<key>")
    def remove(key: str) -> Response:
        session.pop(key, None)
        return Response(status=204)

    return app


def test_what_a_page_stores_is_there_for_the_next(client: FlaskClient) -> None:
    login(client)
    assert client.post("/set", json={"theme": "dark", "seen": [1]}).get_json() == {"theme": "dark", "seen": [1]}
    client.post("/append/seen", json={})
    client.post("/remove/theme", json={})
    assert client.get("/get").get_json() == {"seen": [1, "more"]}


@pytest.mark.promise("L1")
def test_two_pages_at_once_both_keep_what_they_store(app: Flask, services: Services) -> None:
    client = app.test_client()
    login(client)
    client.get("/get")
    with app.test_request_context("/get", headers={"Cookie": f"session={cookie_of(client)}"}) as slow:
        slow.session["slow"] = 1
        assert client.post("/set", json={"quick": 2}).status_code == 200
        app.session_interface.save_session(app, slow.session, Response())
    assert client.get("/get").get_json() == {"slow": 1, "quick": 2}


@pytest.mark.promise("R2")
def test_a_page_that_saves_after_the_logout_brings_nothing_back(app: Flask) -> None:
    client = app.test_client()
    login(client)
    token = cookie_of(client)
    with app.test_request_context("/get", headers={"Cookie": f"session={token}"}) as slow:
        slow.session["slow"] = 1
        assert client.post("/api/logout").status_code == 204
        answer = Response()
        app.session_interface.save_session(app, slow.session, answer)
    assert "Set-Cookie" not in answer.headers
    client.set_cookie("session", token)
    assert client.get("/api/session").status_code == 401


def test_a_stranger_has_no_session_to_write_to(app: Flask, client: FlaskClient) -> None:
    assert client.get("/get").get_json() == {}
    app.testing = False
    answer = client.post("/set", json={"a": 1})
    assert answer.status_code == 500
    assert "Set-Cookie" not in answer.headers


def test_an_answer_that_read_the_session_is_not_cached(client: FlaskClient) -> None:
    login(client)
    headers = client.get("/get").headers
    assert (headers["Vary"], headers["Cache-Control"]) == ("Cookie", "no-store")
    assert "Set-Cookie" not in headers


@pytest.mark.promise("L2")
@pytest.mark.parametrize("path", ["/healthz", "/static/style.css", "/login", "/api/openapi.json", "/nothing"])
def test_strangers_touch_no_store_and_get_no_cookie(
    make_services: Callable[..., Services], valkey: Valkey, path: str
) -> None:
    nowhere = make_services(redis_url="unix:///nonexistent.sock", database_url="sqlite:////nonexistent/db")
    with create_app(nowhere).test_client().get(path) as answer:
        assert answer.status_code in (200, 404)
        assert "Set-Cookie" not in answer.headers


def test_a_forged_cookie_is_refused_without_a_look_up(make_services: Callable[..., Services]) -> None:
    nowhere = make_services(redis_url="unix:///nonexistent.sock", database_url="sqlite:////nonexistent/db")
    client = create_app(nowhere).test_client()
    client.set_cookie("session", "A" * 88)
    assert client.get("/api/session").status_code == 401


@pytest.mark.promise("B8")
def test_two_cookies_of_our_name_are_refused(app: Flask, client: FlaskClient) -> None:
    login(client)
    token = cookie_of(client)
    for pair in (f"session={token}; session={'B' * 88}", f"session={token}; session={token}"):
        assert app.test_client(use_cookies=False).get("/api/session", headers={"Cookie": pair}).status_code == 401


@pytest.mark.promise("L2")
def test_a_wiped_redis_logs_nobody_out(client: FlaskClient, valkey: Valkey) -> None:
    login(client)
    client.post("/set", json={"kept": True})
    valkey.wipe()
    assert client.get("/get").get_json() == {"kept": True}
    valkey.kill()
    assert client.get("/get").get_json() == {"kept": True}
    assert client.post("/set", json={"more": 1}).status_code == 200
    valkey.start()
    assert client.get("/get").get_json() == {"kept": True, "more": 1}


def test_a_write_that_sql_refused_is_not_acknowledged(app: Flask, client: FlaskClient, services: Services) -> None:
    login(client)
    client.get("/get")
    services.db.engine.dispose()
    services.db.engine.pool.connect = _away  # type: ignore[method-assign]
    answer = client.post("/set", json={"lost": 1})
    assert (answer.status_code, "database" in answer.get_data(as_text=True)) == (503, True)
    assert "Set-Cookie" not in answer.headers


def test_the_storage_hooks_of_flask_session_are_closed(app: Flask) -> None:
    with pytest.raises(TypeError, match=r"domain/sessions\.py"):
        app.session_interface.regenerate(object())  # type: ignore[attr-defined]


def _away() -> object:
    raise ConnectionRefusedError("no database here")
