from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from authsvc.domain.accounts import Account
from authsvc.services import Services
from tests.conftest import PASSWORD
from tests.web.conftest import login

pytestmark = pytest.mark.usefixtures("anna")


@pytest.fixture
def bert(services: Services) -> Account:
    return services.accounts.create("bert@example.org", services.hasher.hash(PASSWORD))


def test_a_stranger_is_told_how_to_log_in(client: FlaskClient) -> None:
    for answer in (client.get("/api/session"), client.get("/api/sessions"), client.delete("/api/sessions")):
        assert answer.status_code == 401
        assert answer.mimetype == "application/problem+json"
        assert answer.get_json()["code"] == "unauthenticated"
        assert answer.headers["WWW-Authenticate"]
        assert (answer.headers["Cache-Control"], answer.headers["Vary"]) == ("no-store", "Cookie")


def test_the_list_shows_every_session_and_which_is_this_one(browser: Callable[[], FlaskClient]) -> None:
    one, two = browser(), browser()
    first, second = login(one)["session"]["sid"], login(two)["session"]["sid"]
    listed = one.get("/api/sessions").get_json()["sessions"]
    assert {session["sid"]: session["current"] for session in listed} == {first: True, second: False}
    assert {(session["ip"], session["device"]) for session in listed} == {("127.0.0.1", "Firefox on Linux")}
    assert set(listed[0]) == {"sid", "current", "created", "seen", "ip", "device"}


@pytest.mark.promise("R1")
def test_ending_one_session_ends_it_and_no_other(app: Flask) -> None:
    one, two = app.test_client(), app.test_client()
    login(one)
    other = login(two)["session"]["sid"]
    assert one.delete(f"/api/sessions/{other}").status_code == 204
    assert one.delete(f"/api/sessions/{other}").status_code == 204
    assert two.get("/api/session").status_code == 401
    assert one.get("/api/session").status_code == 200


def test_ending_ones_own_session_takes_the_cookie(client: FlaskClient) -> None:
    own = login(client)["session"]["sid"]
    assert client.delete(f"/api/sessions/{own}").status_code == 204
    assert client.get_cookie("session") is None
    assert client.get("/api/session").status_code == 401


@pytest.mark.usefixtures("bert")
def test_nobody_ends_the_session_of_another(app: Flask) -> None:
    anna, bert = app.test_client(), app.test_client()
    login(anna)
    foreign = login(bert, "bert@example.org")["session"]["sid"]
    refused, unknown = anna.delete(f"/api/sessions/{foreign}"), anna.delete("/api/sessions/none")
    assert (refused.status_code, refused.get_data()) == (404, unknown.get_data())
    assert bert.get("/api/session").status_code == 200


@pytest.mark.promise("R7")
@pytest.mark.usefixtures("bert")
def test_ending_all_others_counts_them_and_keeps_this_one(app: Flask) -> None:
    own, others, bert = app.test_client(), [app.test_client() for _ in range(3)], app.test_client()
    for client in (own, *others):
        login(client)
    login(bert, "bert@example.org")
    assert own.delete("/api/sessions").get_json() == {"ended": 3}
    assert [client.get("/api/session").status_code for client in others] == [401] * 3
    assert own.delete("/api/sessions?all=true").get_json() == {"ended": 1}
    assert own.get("/api/session").status_code == 401
    assert bert.get("/api/session").status_code == 200


@pytest.mark.parametrize("query", ["all=yes", "all=", "all=true&all=true", "all=1"])
def test_an_unclear_wish_to_end_all_ends_nothing(client: FlaskClient, query: str) -> None:
    login(client)
    answer = client.delete(f"/api/sessions?{query}")
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "all")
    assert client.get("/api/session").status_code == 200


@pytest.mark.parametrize(("remember", "idle", "absolute"), [(False, 8, 30 * 24), (True, 30 * 24, 90 * 24)])
def test_a_session_ends_idle_and_after_its_whole_time(
    client: FlaskClient, services: Services, remember: bool, idle: int, absolute: int
) -> None:
    login(client, remember=remember)
    start = services.store.clock()

    def status_after(hours: float) -> int:
        services.store.clock = lambda: start + hours * 3600
        return client.get("/api/session").status_code

    assert status_after(idle - 0.1) == 200
    used = idle - 0.1
    while used + idle - 0.1 < absolute:
        used += idle - 0.1
        assert status_after(used) == 200
    assert status_after(absolute - 0.01) == 200
    assert status_after(absolute + 0.01) == 401


def test_a_session_not_used_for_its_idle_time_is_over_and_not_listed(app: Flask, services: Services) -> None:
    left_alone, used = app.test_client(), app.test_client()
    login(left_alone)
    login(used, remember=True)
    start = services.store.clock()
    services.store.clock = lambda: start + 8 * 3600 + 1
    assert left_alone.get("/api/session").status_code == 401
    assert len(used.get("/api/sessions").get_json()["sessions"]) == 1


def test_changed_roles_are_seen_by_the_session_at_once(client: FlaskClient, services: Services) -> None:
    login(client)
    client.get("/api/session")
    services.accounts.set_roles("anna@example.org", ("admin", "editor"))
    assert client.get("/api/session").get_json()["user"]["roles"] == ["admin", "editor"]


def test_sql_down_is_503_and_never_logged_out(app: Flask, client: FlaskClient, services: Services) -> None:
    login(client)
    client.get("/api/session")
    services.db.engine.dispose()
    services.db.engine.pool.connect = _away  # type: ignore[method-assign]
    assert client.get("/api/session").status_code == 200
    answer = client.get("/api/sessions")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "storage_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert client.get_cookie("session") is not None


def _away() -> object:
    raise ConnectionRefusedError("no database here")
