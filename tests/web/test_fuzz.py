"""B1: no input gives a 5xx."""

import io
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import EnvironBuilder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import run_wsgi_app

from authsvc.core.crypto import write_token
from authsvc.domain.sessions import Origin
from authsvc.services import Services
from authsvc.web.openapi import DESCRIBED

pytestmark = [pytest.mark.promise("B1"), pytest.mark.usefixtures("anna"), pytest.mark.timeout(120)]
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


CALLS = [
    ("POST", "/api/login"), ("POST", "/api/logout"), ("GET", "/api/session"), ("GET", "/api/sessions"),
    ("DELETE", "/api/sessions"), ("DELETE", "/api/sessions/{sid}"), ("POST", "/api/token"), ("POST", "/api/keys"),
    ("GET", "/api/keys"), ("DELETE", "/api/keys/{key_id}"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_call_answers_as_its_schema_says(app: Flask, method: str, path: str) -> None:
    operation = schemathesis.openapi.from_wsgi("/api/openapi.json", app)[path][method]

    @FUZZ
    @given(case=operation.as_strategy(), logged_in=st.booleans())
    def answers_as_described(case: Any, logged_in: bool) -> None:
        case.call_and_validate(headers={"Cookie": f"session={a_session(app)}"} if logged_in else {})

    answers_as_described()


def test_every_route_of_the_api_is_described(app: Flask) -> None:
    routes = {rule.endpoint for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")}
    assert routes - {"openapi.document", "openapi.page"} == set(DESCRIBED)


ROUTES = [
    ("GET", "/"), ("GET", "/login"), ("POST", "/login"), ("GET", "/logout"), ("POST", "/logout"), ("GET", "/account"),
    ("POST", "/account/sessions/end-others"), ("POST", "/account/sessions/x/end"), ("POST", "/api/login"),
    ("POST", "/api/logout"), ("GET", "/api/session"), ("GET", "/api/sessions"), ("DELETE", "/api/sessions"),
    ("DELETE", "/api/sessions/x"), ("GET", "/api/openapi.json"), ("GET", "/api/docs"), ("GET", "/healthz"),
    ("POST", "/api/token"), ("POST", "/api/keys"), ("DELETE", "/api/keys/x"), ("POST", "/account/keys/new"),
    ("POST", "/account/keys/x/revoke"), ("POST", "/oauth/introspect"), ("POST", "/oauth/revoke"),
    ("GET", "/forward-auth"), ("GET", "/readyz"), ("GET", "/static/style.css"), ("GET", "/static/../app.py"),
]  # fmt: skip
latin = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=200)
cookies = st.one_of(
    latin,
    latin.map(lambda text: f"session={text}"),
    st.sampled_from(
        ["session=", "session=a; session=b", "session=" + "A" * 4096, 'session="\\377\\000"', "=; ;=", "\0"]
    ),
    st.text("AB-_=", min_size=88, max_size=88).map(lambda text: f"session={text}"),
)
headers = st.dictionaries(
    st.sampled_from(
        ["Origin", "Sec-Fetch-Site", "X-Forwarded-For", "Accept", "Content-Type", "User-Agent", "Host", "Range",
         "If-Modified-Since", "If-None-Match", "Content-Length", "Transfer-Encoding", "Accept-Language", "Referer",
         "Authorization"]
    ),
    latin,
    max_size=4,
)  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ROUTES)
@FUZZ
@given(cookie=cookies, extra=headers, body=st.binary(max_size=300), query=st.text(max_size=50))
def test_odd_cookies_headers_and_bodies_give_no_5xx(
    app: Flask, method: str, path: str, cookie: str, extra: dict[str, str], body: bytes, query: str
) -> None:
    environ = EnvironBuilder(app, path=path, method=method, query_string={"next": query, "all": query}).get_environ()
    environ["HTTP_COOKIE"] = cookie
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in extra.items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    chunks, status, _ = run_wsgi_app(app, environ, buffered=True)
    list(chunks)
    assert int(status.split()[0]) < 500


@pytest.mark.parametrize("path", ["/api/login", "/login"])
@FUZZ
@given(email=st.text(max_size=100), password=st.text(max_size=100))
def test_any_email_and_password_are_wrong_and_nothing_worse(app: Flask, path: str, email: str, password: str) -> None:
    fields = {"email": email, "password": password}
    body: dict[str, Any] = {"json": fields} if path == "/api/login" else {"data": fields}
    assert app.test_client().post(path, **body).status_code in (401, 422, 429)


def a_session(app: Flask) -> str:
    """The cookie of a new session, made without a login, which would soon be held up by the fuzzer's failures."""
    services: Services = app.extensions["authsvc"]
    credentials = services.accounts.known("anna@example.org").account
    assert credentials
    origin = Origin("127.0.0.1", "fuzz")
    _, token = services.sessions.create(credentials.user_id, 0, amr=("pwd",), remember=False, origin=origin)
    return write_token(services.keyring, token)
