"""Bounds, and what may happen when, step by step and without I/O."""

import math
import subprocess
import sys
import time
from typing import Any

import pytest

from authsvc.core import jwt
from authsvc.core.errors import IssuerDown, TokenRefused
from authsvc.sdk import keys, revoked, rules
from authsvc.sdk.caller import Caller
from authsvc.sdk.issuer import Issuer as HttpIssuer
from authsvc.sdk.issuer import Request, Response
from authsvc.sdk.keys import KeyCache
from authsvc.sdk.revoked import KEPT_FOR, Revoked
from authsvc.sdk.rules import Begin, Load, Operation, Renew, Rules
from tests.sdk.issuer import AUDIENCE, Issuer


class Clock:
    """Monotonic, and moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer() -> Issuer:
    """One that is only asked to sign."""
    return Issuer("https://auth.example")


@pytest.fixture
def made(issuer: Issuer, clock: Clock) -> Rules:
    return Rules(HttpIssuer(issuer.url, "orders", "secret", clock), AUDIENCE, "refuse", 20.0, ticks=clock)


def answers(issuer: Issuer) -> dict[str, Any]:
    return {
        f"{issuer.url}/.well-known/oauth-authorization-server": issuer.discovery,
        issuer.discovery["jwks_uri"]: issuer.jwks,
    }


def run(made: Rules, operation: Operation[Any], issuer: Issuer, steps: list[str] | None = None) -> Any:
    """To its end, with answers as an issuer gives them; the kinds of its steps are noted."""
    try:
        step = next(operation)
        while True:
            if steps is not None:
                steps.append(type(step).__name__)
            if isinstance(step, Request):
                body = jwt.ENCODE(answers(issuer)[step.url]).encode()
                step = operation.send(Response(200, {"cache-control": issuer.cache_control}, body))
            else:
                if isinstance(step, Load):
                    run(made, made.load(*step), issuer)
                step = operation.send(None)
    except StopIteration as stop:
        return stop.value


@pytest.fixture
def begun(made: Rules, issuer: Issuer) -> Rules:
    """With keys, and a feed that is complete."""
    run(made, made.load(), issuer)
    run(made, made.hear("ready", "{}", ""), issuer)
    return made


def test_a_first_token_waits_for_keys_and_for_the_feed(made: Rules, issuer: Issuer) -> None:
    steps: list[str] = []
    operation = made.check(issuer.token())
    with pytest.raises(rules.RevocationsUnknown):
        run(made, operation, issuer, steps)
    assert steps == [Load.__name__, Begin.__name__]


def test_keys_that_are_no_longer_fresh_are_renewed_behind_the_requests(
    begun: Rules, issuer: Issuer, clock: Clock
) -> None:
    clock.now += 299
    begun.feed.beat()
    quiet: list[str] = []
    run(begun, begun.check(issuer.token()), issuer, quiet)
    clock.now += 2
    renewing: list[str] = []
    run(begun, begun.check(issuer.token()), issuer, renewing)
    assert (quiet, renewing) == ([], [Renew.__name__])


def test_keys_that_are_too_old_are_waited_for(begun: Rules, issuer: Issuer, clock: Clock) -> None:
    clock.now += 601
    begun.feed.beat()
    steps: list[str] = []
    run(begun, begun.check(issuer.token()), issuer, steps)
    assert steps == [Load.__name__]


@pytest.mark.promise("B9")
def test_a_token_that_was_in_check_while_its_key_was_revoked_is_not_kept(begun: Rules, issuer: Issuer) -> None:
    begun.feed.heard = None  # so that the check stops, after the signature, to wait for the feed
    token = issuer.token()
    operation = begun.check(token)
    assert next(operation) == Begin()
    issuer.rotate()
    issuer.jwks = {"keys": issuer.jwks["keys"][1:]}
    run(begun, begun.hear("keys", "{}", ""), issuer)
    with pytest.raises(StopIteration):
        operation.send(None)
    assert begun.known(token) is None
    with pytest.raises(TokenRefused):
        run(begun, begun.check(token), issuer)


@pytest.mark.promise("B9")
@pytest.mark.parametrize("told", [True, False])
def test_a_known_token_is_forgotten_with_its_key(begun: Rules, issuer: Issuer, clock: Clock, told: bool) -> None:
    """Also where the key merely goes from the set in its time."""
    token = issuer.token()
    run(begun, begun.check(token), issuer)
    issuer.rotate()
    issuer.jwks = {"keys": issuer.jwks["keys"][1:]}
    clock.now += 301
    run(begun, begun.hear("keys", "{}", "") if told else begun.load(), issuer)
    begun.feed.beat()
    assert begun.known(token) is None


@pytest.mark.promise("B9")
def test_for_a_while_after_a_key_was_revoked_nothing_is_believed_for_long(
    begun: Rules, issuer: Issuer, clock: Clock
) -> None:
    """A process of the issuer that has not heard of it may still publish the key."""
    run(begun, begun.hear("keys", "{}", ""), issuer)
    token, steps = issuer.token(), list[str]()
    run(begun, begun.check(token), issuer)
    assert begun._kept[token].until <= time.time() + keys.DOUBT
    clock.now += keys.DOUBTED_AGE
    run(begun, begun.check(issuer.token()), issuer, steps)
    assert steps == [Renew.__name__]
    clock.now += keys.DOUBT
    run(begun, begun.load(), issuer)
    run(begun, begun.check(token), issuer)
    assert begun._kept[token].until > time.time() + keys.DOUBT


def test_only_so_many_tokens_are_kept(begun: Rules, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_KEPT", 3)
    tokens = [issuer.token() for _ in range(5)]
    for token in tokens:
        run(begun, begun.check(token), issuer)
    assert [begun.known(token) is not None for token in tokens] == [False, False, True, True, True]
    assert begun.metrics().kept == 3


@pytest.mark.promise("R5")
def test_more_ends_than_can_be_kept_make_the_feed_stale_until_none_of_them_matters(
    begun: Rules, issuer: Issuer, clock: Clock
) -> None:
    begun.revoked._limit = 2
    for n in range(3):
        event = issuer.security_event("session-revoked", {"session": {"id": f"session-{n}"}}, {})
        run(begun, begun.hear("set", jwt.sign(issuer.key, jwt.SECURITY_EVENT, event), f"run-{n}"), issuer)
    for passed in (10, KEPT_FOR - 11):
        clock.now += passed
        begun.feed.beat()
    assert begun.feed.state() == "stale"
    clock.now += 1
    begun.feed.beat()
    assert begun.feed.state() == "fresh"


@pytest.mark.promise("R5")
def test_after_a_security_event_that_is_not_believed_everything_is_asked_for_anew(begun: Rules, issuer: Issuer) -> None:
    """Its key was revoked after it was signed; from a cursor it would come again and again."""
    event = issuer.security_event("session-revoked", {"session": {"id": "session-1"}}, {})
    run(begun, begun.hear("set", jwt.sign(issuer.key, jwt.SECURITY_EVENT, event), "run-1"), issuer)
    assert begun.feed.headers("token")["Last-Event-ID"] == "run-1"
    with pytest.raises(TokenRefused):
        run(begun, begun.hear("set", jwt.sign(jwt.generate(jwt.ES256), jwt.SECURITY_EVENT, event), "run-2"), issuer)
    assert "Last-Event-ID" not in begun.feed.headers("token")


def ends(sid: str) -> dict[str, Any]:
    return {"events": {revoked.SESSION_REVOKED: {}}, "sub_id": {"session": {"id": sid}}}


def test_what_has_ended_is_forgotten_when_its_tokens_have_expired() -> None:
    known = Revoked()
    known.hear(ends("first"), 0)
    known.hear(ends("second"), 200)
    known.hear(ends("first"), 300)  # told again
    known.prune(200 + KEPT_FOR)
    assert list(known.ended) == ["first"]
    known.prune(300 + KEPT_FOR)
    assert len(known) == 0


@pytest.mark.promise("R5")
def test_roles_that_are_told_again_do_not_come_back() -> None:
    known = Revoked()
    for at, role in ((100, "admin"), (200, "guest"), (100, "admin")):
        event = {"event_timestamp": at, "claims": {"roles": [role]}}
        known.hear({"events": {revoked.CLAIMS_CHANGE: event}, "sub_id": {"sub": "anna"}}, 0)
    assert known.roles["anna"].roles == {"guest"}


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"events": []},
        {"events": {revoked.SESSION_REVOKED: {}}},
        {"events": {revoked.SESSION_REVOKED: {}}, "sub_id": {"session": "s"}},
        {"events": {revoked.SESSION_REVOKED: {}}, "sub_id": {"session": {"id": []}}},
        {"events": {revoked.CLAIMS_CHANGE: {}}, "sub_id": {"sub": "anna"}},
        {"events": {revoked.CLAIMS_CHANGE: {"claims": {"roles": []}}}, "sub_id": {"sub": "anna"}},
        {"events": {revoked.CLAIMS_CHANGE: {"claims": {"roles": 7}, "event_timestamp": 1}}, "sub_id": {"sub": "a"}},
    ],
)
def test_an_event_that_cannot_be_understood_is_not_passed_over(claims: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        Revoked().hear(claims, 0)


@pytest.mark.promise("B9")
def test_kids_that_nobody_knows_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_UNKNOWN", 10)
    cache = KeyCache()
    for n in range(100):
        cache.missing(f"kid-{n}", 0)
    assert len(cache._unknown) == 10
    assert not cache.unheard("kid-99", keys.UNKNOWN_FOR - 1)
    assert cache.unheard("kid-99", keys.UNKNOWN_FOR)


@pytest.mark.parametrize(
    ("cache_control", "fresh", "usable"),
    [
        ("public, max-age=60, stale-while-revalidate=30", 60, 90),
        ("Max-Age=60,Stale-While-Revalidate=0", 60, 60),
        ("", 300, 600),
        ("max-age=-1", 300, 600),
        ("s-max-age=7", 300, 600),
        ("max-age=999999999999", 86_400, 86_700),
    ],
)
def test_keys_live_as_long_as_their_issuer_says(
    issuer: Issuer, cache_control: str, fresh: float, usable: float
) -> None:
    cache = KeyCache()
    cache.fill(issuer.jwks, cache_control, 0)
    assert (cache.due(fresh - 1), cache.due(fresh)) == (False, True)
    assert (cache.usable(usable - 1), cache.usable(usable)) == (True, False)


def test_a_set_that_is_refused_leaves_the_keys_as_they_were(begun: Rules, issuer: Issuer, clock: Clock) -> None:
    before = begun.keys.keys
    issuer.jwks = {"keys": [issuer.key.jwk()]}
    clock.now += 301
    with pytest.raises(rules.Unavailable):
        run(begun, begun.load(), issuer)
    assert begun.keys.keys is before


def test_a_token_of_our_own_is_renewed_before_it_runs_out(issuer: Issuer, clock: Clock) -> None:
    asked = HttpIssuer(issuer.url, "orders", "secret", clock)

    def tell(name: str) -> Response:
        return Response(200, {}, jwt.ENCODE({"access_token": name, "expires_in": 300}).encode())

    assert finish(asked.token(), issuer, tell("first")) == "first"
    clock.now += 269
    assert finish(asked.token(), issuer, tell("second")) == "first"
    clock.now += 1
    assert finish(asked.token(), issuer, tell("second")) == "second"


def finish(operation: Any, issuer: Issuer, answer: Response) -> Any:
    try:
        step = next(operation)
        while True:
            found = Response(200, {}, jwt.ENCODE(issuer.discovery).encode())
            step = operation.send(answer if step.form else found)
    except StopIteration as stop:
        return stop.value


@pytest.mark.parametrize("answer", [{}, {"access_token": 7, "expires_in": 300}, {"access_token": "x"}, []])
def test_an_answer_without_a_token_is_none(issuer: Issuer, clock: Clock, answer: object) -> None:
    asked = HttpIssuer(issuer.url, "orders", "secret", clock)
    with pytest.raises(IssuerDown):
        finish(asked.token(), issuer, Response(200, {}, jwt.ENCODE(answer).encode()))


@pytest.mark.promise("B9")
@pytest.mark.parametrize("name", ["jwks_uri", "token_endpoint", "introspection_endpoint", "revocation_feed_endpoint"])
@pytest.mark.parametrize(
    "lie", ["https://elsewhere.example/x", "https://auth.example.org/x", "http://auth.example/x", 7]
)
def test_nothing_is_asked_of_another_address(issuer: Issuer, clock: Clock, name: str, lie: object) -> None:
    asked = HttpIssuer(issuer.url, "orders", "secret", clock)
    issuer.discovery[name] = lie
    with pytest.raises(IssuerDown):
        finish(asked.addresses(), issuer, Response(500, {}, b""))


@pytest.mark.promise("R5")
def test_bytes_count_only_once_everything_before_has_been_told(clock: Clock) -> None:
    feed = rules.Feed(Revoked(), 20, 0, clock)
    for _ in range(2):  # at first, and when it is opened again
        feed.headers("token")
        feed.beat()
        assert not feed.complete
        feed.ready()
        assert feed.complete
        clock.now += 20


def test_pauses_between_tries_grow_and_end() -> None:
    feed = rules.Feed(Revoked(), 20, math.inf, Clock())
    pauses = [feed.broke_off(None) for _ in range(40)]
    assert pauses[0] <= 0.1 < max(pauses) <= 30


def test_a_caller_shows_no_claims_when_printed(begun: Rules, issuer: Issuer) -> None:
    caller: Caller = run(begun, begun.check(issuer.token(email="anna@example.org")), issuer)
    assert "anna@example.org" not in repr(caller)


def test_the_sdk_brings_nothing_of_the_server_along() -> None:
    code = "import sys, authsvc.sdk, authsvc.sdk.asgi; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    server = {"flask", "quart", "werkzeug", "sqlalchemy", "redis", "msgpack", "pydantic", "celery", "authlib", "bridge"}
    assert "httpx" in loaded
    assert server.isdisjoint(loaded)
