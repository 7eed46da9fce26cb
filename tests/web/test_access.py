"""Each request has an id, is counted, and has a line in the log that holds nothing of what it came with."""

import logging

import pytest
from flask import Flask
from flask.testing import FlaskClient

from authsvc.core import request_ids
from authsvc.core.metrics import REGISTRY
from authsvc.domain import jobs
from authsvc.domain.accounts import Account
from authsvc.services import Services
from authsvc.web.app import create_app
from tests.web.conftest import login


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "authsvc")


def count(route: str, status: str, method: str = "GET") -> float:
    labels = {"method": method, "route": route, "status": status}
    return REGISTRY.get_sample_value("authsvc_http_request_seconds_count", labels) or 0


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    told = [record.__dict__ for record in caplog.records if record.name == "authsvc.web.access"]
    return [{name: each[name] for name in ("method", "route", "status")} for each in told]


def test_an_answer_names_its_request(client: FlaskClient) -> None:
    ids = [
        client.get(path).headers.getlist(request_ids.HEADER) for path in ("/healthz", "/login", "/nothing", "/login")
    ]
    assert all(len(each) == 1 for each in ids)
    assert len({each for (each,) in ids}) == len(ids)


@pytest.mark.parametrize(
    ("proxies", "sent", "taken"),
    [(1, "b2c0-from.the_proxy", True), (0, "b2c0-from.a_stranger", False), (1, "short", False), (1, "x" * 65, False),
     (1, "no spaces here", False), (1, "ünïcödé-id", False)],
)  # fmt: skip
def test_only_a_trusted_proxy_gives_the_id(services: Services, proxies: int, sent: str, taken: bool) -> None:
    object.__setattr__(services.settings, "trusted_proxies", proxies)
    client = create_app(services).test_client()
    answer = client.get("/healthz", headers={request_ids.HEADER: sent.encode().decode("latin-1")})
    assert (answer.headers[request_ids.HEADER] == sent) is taken


def test_what_a_request_leaves_for_later_has_its_id(client: FlaskClient, services: Services) -> None:
    answer = client.post("/api/register", json={"email": "emma@example.org", "password": "tessellated-otter-quay"})
    [job] = services.jobs.listed(dead=False)
    assert job.kind == jobs.MAIL
    assert job.request_id == answer.headers[request_ids.HEADER]


def test_requests_are_counted_by_the_pattern_of_their_path(client: FlaskClient, anna: Account) -> None:
    login(client)
    before = count("/api/sessions/<sid>", "404", "DELETE")
    for sid in ("one", "two"):
        client.delete(f"/api/sessions/{sid}")
    assert count("/api/sessions/<sid>", "404", "DELETE") == before + 2


def test_what_strangers_make_up_becomes_no_label(client: FlaskClient) -> None:
    before = count("other", "404"), count("other", "404", "other")
    client.get("/made-up-by-a-stranger")
    client.open("/made-up-by-a-stranger", method="BREW")
    assert (count("other", "404"), count("other", "404", "other")) == (before[0] + 1, before[1] + 1)
    assert b"made-up" not in repr(list(REGISTRY.collect())).encode()


def test_a_line_holds_neither_path_nor_query_nor_body(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    client.get("/verify-email?token=from-a-mail")
    client.post("/api/login", json={"email": "who@example.org", "password": "kept-to-herself"})
    client.get("/a/secret/path")
    assert lines(caplog) == [
        {"method": "GET", "route": "/verify-email", "status": 400},
        {"method": "POST", "route": "/api/login", "status": 401},
        {"method": "GET", "route": "other", "status": 404},
    ]
    for secret in ("from-a-mail", "who@", "kept-to-herself", "/secret/"):
        assert secret not in repr([record.__dict__ for record in caplog.records])


def test_what_is_asked_all_the_time_has_a_line_only_when_it_failed(
    app: Flask, services: Services, anna: Account, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = app.test_client()
    for path in ("/healthz", "/readyz", "/api/session", "/static/style.css"):
        client.get(path).close()
    assert lines(caplog) == []
    monkeypatch.setattr(services.store, "clock", lambda: 0.0)  # far from that of SQL
    client.get("/readyz")
    assert lines(caplog) == [{"method": "GET", "route": "/readyz", "status": 503}]
