"""Who may write from where, and what every answer carries."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from authsvc.services import Services
from authsvc.web.app import create_app
from authsvc.web.guards import device_name
from tests.conftest import ORIGIN, PASSWORD
from tests.web.conftest import login

EVIL = "https://evil.example"
CREDENTIALS = {"email": "anna@example.org", "password": PASSWORD}
FORM = "application/x-www-form-urlencoded"


@pytest.mark.promise("B8")
@pytest.mark.usefixtures("anna")
@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, {"data": {}}, 303),
        ({"Origin": ORIGIN}, {"data": {}}, 303),
        ({"Sec-Fetch-Site": "cross-site", "Origin": EVIL}, {"data": {}}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": EVIL}, {"data": {}}, 403),
        ({"Sec-Fetch-Site": "none"}, {"data": {}}, 403),
        ({"Origin": EVIL}, {"data": {}}, 403),
        ({"Origin": "null"}, {"data": {}}, 403),
        ({"Origin": ORIGIN + ".evil.example"}, {"data": {}}, 403),
        ({"Origin": "http://127.0.0.1:8001"}, {"data": {}}, 403),
        ({"Origin": "https://127.0.0.1:8000"}, {"data": {}}, 403),
        ({"Origin": EVIL}, {"json": {}}, 403),
        ({}, {"json": {}}, 303),
        ({}, {}, 303),
        ({}, {"data": {"a": "b"}}, 403),
        ({}, {"data": b"", "content_type": FORM}, 403),
        ({}, {"data": b"a", "content_type": "text/plain"}, 403),
        ({}, {"data": b"a"}, 403),
        ({}, {"data": {"a": "b"}, "content_type": "multipart/form-data"}, 403),
    ],
)
def test_a_write_with_our_cookie_must_come_from_us(
    client: FlaskClient, headers: dict[str, str], body: dict[str, Any], status: int
) -> None:
    login(client)
    answer = client.post("/logout", headers=headers, **body)
    assert answer.status_code == status
    assert client.get("/api/session").status_code == (200 if status == 403 else 401)


@pytest.mark.promise("B8")
@pytest.mark.usefixtures("anna")
@pytest.mark.parametrize("path", ["/login", "/api/login"])
def test_another_site_cannot_log_a_browser_in(client: FlaskClient, path: str) -> None:
    body: dict[str, Any] = {"json": CREDENTIALS} if path == "/api/login" else {"data": CREDENTIALS}
    answer = client.post(path, headers={"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}, **body)
    assert (answer.status_code, answer.headers.getlist("Set-Cookie")) == (403, [])


@pytest.mark.usefixtures("anna")
def test_a_program_without_browser_headers_may_delete(client: FlaskClient) -> None:
    login(client)
    assert client.delete("/api/sessions").status_code == 200
    assert client.delete("/api/sessions", headers={"Origin": EVIL}).get_json()["code"] == "cross_site"


@pytest.mark.usefixtures("anna")
def test_a_trusted_origin_may_call_with_cookies(make_services: Callable[..., Services]) -> None:
    trusted = "https://app.example.org"
    client = create_app(make_services(trusted_origins=(trusted,))).test_client()
    asked = client.options("/api/login", headers={"Origin": trusted, "Access-Control-Request-Method": "POST"})
    assert asked.headers["Access-Control-Allow-Origin"] == trusted
    assert asked.headers["Access-Control-Allow-Credentials"] == "true"
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    answer = client.post("/api/login", json=CREDENTIALS, headers={"Origin": trusted, "Sec-Fetch-Site": "same-site"})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, trusted)
    for stranger in (EVIL, "null", trusted + ".evil.example", "http://app.example.org", trusted + ":444"):
        refused = client.get("/api/session", headers={"Origin": stranger})
        assert "Access-Control-Allow-Origin" not in refused.headers
        assert "Origin" in refused.headers["Vary"]


PATHS = ["/", "/login", "/account", "/api/session", "/api/docs", "/healthz", "/static/style.css", "/nothing"]


@pytest.mark.promise("B8")
@pytest.mark.parametrize("path", PATHS)
def test_every_answer_carries_the_protecting_headers(client: FlaskClient, path: str) -> None:
    with client.get(path) as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", ["/api/login", "/login", "/api/logout", "/logout"])
def test_a_body_over_64_kib_is_413(client: FlaskClient, path: str) -> None:
    answer = client.post(path, data=b"x" * (64 * 1024 + 1), content_type="application/json")
    assert answer.status_code == 413


@pytest.mark.parametrize("content_type", ["", "text/plain", FORM, "application/xml", "application/jsonx"])
def test_the_json_calls_take_json_only(client: FlaskClient, content_type: str) -> None:
    answer = client.post("/api/login", data=b"{}", content_type=content_type)
    assert (answer.status_code, answer.get_json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.usefixtures("anna")
@pytest.mark.parametrize(
    ("hops", "forwarded", "ip"),
    [
        (0, "203.0.113.9", "127.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1, 203.0.113.9", "198.51.100.1"),
        (2, "203.0.113.9", "127.0.0.1"),
        (1, "not an address", "127.0.0.1"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "", "127.0.0.1"),
    ],
)
def test_the_address_is_taken_from_as_many_proxies_as_are_set(
    make_services: Callable[..., Services], hops: int, forwarded: str, ip: str
) -> None:
    client = create_app(make_services(trusted_proxies=hops)).test_client()
    client.post("/api/login", json=CREDENTIALS, headers={"X-Forwarded-For": forwarded})
    assert client.get("/api/sessions").get_json()["sessions"][0]["ip"] == ip


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("", "Unknown device"),
        ("\x00\xff" * 5000, "Unknown device"),
    ],
)
def test_a_device_has_a_name_that_people_know(user_agent: str, name: str) -> None:
    assert device_name(user_agent) == name


@pytest.mark.parametrize("method", ["TRACE", "PUT", "PATCH"])
def test_other_methods_are_refused(client: FlaskClient, method: str) -> None:
    answer = client.open("/api/session", method=method, headers={"X-HTTP-Method-Override": "GET"})
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_the_host_header_builds_no_address(app: Flask) -> None:
    for path in ("/", "/account", "//account", "/account/", "/login?next=/account"):
        answer = app.test_client().get(path, headers={"Host": "evil.example"})
        assert "evil.example" not in f"{answer.headers}{answer.get_data(as_text=True)}", path
