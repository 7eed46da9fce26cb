"""B1 on pages: whatever stands in the fields of a form, and whoever sends it, no page breaks."""

from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authsvc.core.crypto import write_token
from authsvc.domain.sessions import Origin
from authsvc.services import Services

FIELDS = ("email", "password", "current", "name", "token", "flow", "code", "next", "lang", "task", "remember", "notice")
FUZZ = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
values = st.one_of(
    st.sampled_from(["", "\0", "anna@example.org", "123456", "en", "/account", "reset", "A" * 22, "A" * 46, "\ud800"]),
    st.text(max_size=60),
)


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """PostgreSQL refuses what SQLite takes, a NUL say."""
    return postgres_url


def a_session(services: Services) -> str:
    """The cookie of a new session; an account that a case before has deleted is still there for a while."""
    credentials = services.accounts.known("anna@example.org").account
    assert credentials
    origin = Origin("127.0.0.1", "fuzz")
    _, token = services.sessions.create(
        credentials.user_id, credentials.epoch, amr=("pwd",), remember=False, origin=origin
    )
    return write_token(services.keyring, token)


def pages(app: Flask) -> list[tuple[str, str]]:
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("pages.")]
    return sorted((method, rule.rule) for rule in rules for method in (rule.methods or set()) - {"OPTIONS", "HEAD"})


@pytest.mark.promise("B1")
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("anna")
def test_no_fields_break_a_page(app: Flask, services: Services) -> None:
    every = pages(app)
    assert len(every) > 30

    @FUZZ
    @given(
        page=st.sampled_from(every),
        sid=st.sampled_from(["x", "%00", "A" * 22]),
        fields=st.dictionaries(st.sampled_from(FIELDS), values, max_size=5),
        logged_in=st.booleans(),
    )
    def answers(page: tuple[str, str], sid: str, fields: dict[str, Any], logged_in: bool) -> None:
        method, path = page
        client = app.test_client()
        if logged_in:
            client.set_cookie("session", a_session(services))
        sent = {name: value.encode("utf-8", "surrogatepass") for name, value in fields.items()}
        place = {"query_string": sent} if method == "GET" else {"data": sent}
        path = path.replace("<sid>", sid)
        answer = client.open(path, method=method, headers={"Sec-Fetch-Site": "same-origin"}, **place)
        assert answer.status_code < 500, (method, path, fields)
        assert "Traceback" not in answer.get_data(as_text=True)

    answers()
