"""Who may follow the feed of revocations: who shows an access token for it, where such a token belongs, as long as it
is valid."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from authsvc.core import jwt
from authsvc.services import Services
from tests.bridge.conftest import BOUND, Bridge, Person

Claims = Callable[..., dict[str, Any]]


@pytest.fixture
def claims(services: Services) -> Claims:
    def of(**changes: Any) -> dict[str, Any]:
        issuer, now = services.settings.public_url, int(time.time())
        good = {"iss": issuer, "sub": "orders", "aud": issuer, "iat": now, "exp": now + 300, "jti": "1",
                "client_id": "orders", "scope": "revocations"}  # fmt: skip
        return {**good, **changes}

    return of


def get(bridge: Bridge, *sent: str, **more: Any) -> httpx.Response:
    """An answer that is not a stream."""
    headers = [("Authorization", each) for each in sent]
    return httpx.request(
        more.pop("method", "GET"), f"http://127.0.0.1:{bridge.port}/revocations{more.pop('query', '')}",
        headers=[*headers, *more.items()], timeout=BOUND,
    )  # fmt: skip


def test_a_stranger_is_asked_for_a_token(bridge: Bridge, anna: Person) -> None:
    for refused in (get(bridge), get(bridge, Cookie=f"session={anna.browser()[1]}")):
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["Cache-Control"] == "no-store"
        assert refused.json()["code"] == "unauthenticated"


@pytest.mark.promise("B9")
@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://orders.example"},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"iat": 4_000_000_000},
    ],
)
def test_a_token_that_is_not_for_us_or_not_now_is_refused(
    bridge: Bridge, services: Services, claims: Claims, changes: dict[str, Any]
) -> None:
    sent = {name: value for name, value in claims(**changes).items() if value is not None}
    refused = get(bridge, f"Bearer {jwt.sign(services.keys.signing(), jwt.ACCESS_TOKEN, sent)}")
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_token")
    assert refused.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.promise("B9")
def test_what_is_no_access_token_of_ours_is_refused(bridge: Bridge, services: Services, claims: Claims) -> None:
    key = services.keys.signing()
    good = jwt.sign(key, jwt.ACCESS_TOKEN, claims())
    assert get(bridge, f"Bearer {jwt.sign(key, jwt.SECURITY_EVENT, claims())}").status_code == 401
    for sent in (f"Bearer {good}x", f"Bearer {good[:-8]}", f"Basic {good}", "Bearer", f"Bearer  {good}", good):
        assert get(bridge, sent).status_code == 401, sent
    assert get(bridge, f"Bearer {good}", f"Bearer {good}").status_code == 401, "two at once"


def test_a_token_with_other_scopes_is_refused_and_told_which_it_takes(
    bridge: Bridge, services: Services, claims: Claims
) -> None:
    for scope in ("", "presence", "revocations2", "Revocations", "x-revocations publish"):
        refused = get(bridge, f"Bearer {jwt.sign(services.keys.signing(), jwt.ACCESS_TOKEN, claims(scope=scope))}")
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
        assert refused.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="revocations"'


def test_a_token_in_the_address_or_in_a_cookie_does_not_count(
    bridge: Bridge, services: Services, claims: Claims
) -> None:
    good = jwt.sign(services.keys.signing(), jwt.ACCESS_TOKEN, claims())
    assert get(bridge, query=f"?access_token={good}").status_code == 401
    assert get(bridge, Cookie=f"session={good}; access_token={good}").status_code == 401


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE", "OPTIONS", "PUT"])
def test_the_feed_is_only_got(bridge: Bridge, services: Services, claims: Claims, method: str) -> None:
    good = jwt.sign(services.keys.signing(), jwt.ACCESS_TOKEN, claims())
    assert get(bridge, f"Bearer {good}", method=method).status_code == 405


def test_a_feed_ends_with_the_token_that_opened_it(bridge: Bridge, services: Services, claims: Claims) -> None:
    last_moment = jwt.sign(services.keys.signing(), jwt.ACCESS_TOKEN, claims(exp=int(time.time()) - 3))
    ended = get(bridge, f"Bearer {last_moment}")
    assert ended.status_code == 200
    assert "event: ready" in ended.text


def test_a_feed_on_the_wire_says_what_it_is(bridge: Bridge, services: Services, claims: Claims) -> None:
    ended = get(
        bridge, f"Bearer {jwt.sign(services.keys.signing(), jwt.ACCESS_TOKEN, claims(exp=int(time.time()) - 3))}"
    )
    assert ended.headers["Content-Type"].startswith("text/event-stream")
    assert ended.headers["X-Accel-Buffering"] == "no"
    first, keys, ready, rest = ended.text.split("\n\n")
    assert (first, keys) == ("retry: 3000", "event: keys\ndata: {}")
    assert ready.split("\n")[1:] == ["event: ready", "data: {}"]
    assert rest == ""
