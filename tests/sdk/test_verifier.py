"""What a verifier promises, through both doors and against an issuer over HTTP."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from authsvc.core import jwt
from authsvc.core.errors import AuthsvcError, IssuerDown, RevocationsUnknown, TokenRefused
from authsvc.sdk import Verifier
from tests.sdk.conftest import Driven
from tests.sdk.issuer import AUDIENCE, Issuer
from tests.servers import wait_for

Either = Verifier | Driven
VerifierOf = Callable[..., Either]
KEYS = "/.well-known/jwks.json"


def reason(verifier: Either, token: str) -> str | None:
    """Why a token is refused, None if it is not."""
    try:
        verifier.verify(token)
    except TokenRefused as error:
        return error.reason
    except AuthsvcError as error:
        return error.code
    return None


def test_a_token_says_who_calls(verifier: Either, issuer: Issuer) -> None:
    caller = verifier.verify(issuer.token(extra="x"))
    assert (caller.subject, caller.client_id, caller.session, caller.grant) == ("anna", "shop", "session-1", "grant-1")
    assert caller.scopes == {"orders:read", "orders:write"}
    assert (caller.roles, caller.amr, caller.acr) == ({"clerk"}, ("pwd", "otp"), "aal2")
    assert caller.auth_time == caller.issued - 60 == caller.expires - 360
    assert caller.claims["extra"] == "x"


def test_a_service_has_no_session(verifier: Either, issuer: Issuer) -> None:
    names = ("sid", "gid", "auth_time", "amr", "acr", "roles", "scope")
    caller = verifier.verify(issuer.token(**dict.fromkeys(names)))
    assert (caller.session, caller.grant, caller.auth_time, caller.acr) == (None, None, None, None)
    assert (caller.roles, caller.amr, caller.scopes) == (frozenset(), (), frozenset())


def test_a_token_is_checked_once_and_known_from_then_on(verifier: Either, issuer: Issuer) -> None:
    verifier.verify(issuer.token())  # during which the feed begins
    token, before = issuer.token(), verifier.metrics
    assert [verifier.verify(token) for _ in range(3)] == [verifier.verify(token)] * 3
    after = verifier.metrics
    assert (after.verified - before.verified, after.cache_hits - before.cache_hits) == (1, 3)


@pytest.mark.promise("B9")
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": None}, "expired"),
        ({"iss": "https://elsewhere.example"}, "issuer"),
        ({"aud": "https://bills.example"}, "audience"),
        ({"typ": "JWT"}, "type"),
        ({"typ": jwt.LOGOUT_TOKEN}, "type"),
        ({"typ": jwt.SECURITY_EVENT}, "type"),
        ({"exp": int(time.time()) + 86_400}, "lifetime"),
        ({"iat": None}, "malformed"),
        ({"sub": None}, "malformed"),
        ({"client_id": None}, "malformed"),
        ({"roles": "admin"}, "malformed"),
        ({"amr": [1]}, "malformed"),
        ({"scope": ["a"]}, "malformed"),
        ({"auth_time": True}, "malformed"),
    ],
)
def test_a_token_for_something_else_is_refused(
    verifier: Either, issuer: Issuer, changes: dict[str, object], why: str
) -> None:
    token = issuer.token(**changes)  # type: ignore[arg-type]
    assert reason(verifier, token) == why
    assert verifier.metrics.refused == {why: 1}
    assert reason(verifier, issuer.token()) is None


def test_a_known_token_is_refused_when_it_expires(verifier: Either, issuer: Issuer) -> None:
    verifier.verify(issuer.token())
    token = issuer.token(exp=time.time() - 4.5)  # within the five seconds that clocks may differ, for a little while
    verifier.verify(token)
    wait_for(lambda: reason(verifier, token) == "expired")


@pytest.mark.promise("R5")
def test_a_token_is_refused_once_the_feed_has_told_the_end_of_its_session(verifier: Either, issuer: Issuer) -> None:
    ended, other = issuer.token(sid="ended"), issuer.token(sid="other")
    assert (reason(verifier, ended), reason(verifier, other)) == (None, None)
    issuer.end_session("ended")
    wait_for(lambda: reason(verifier, ended) == "revoked")
    assert reason(verifier, issuer.token(sid="ended")) == "revoked"
    assert reason(verifier, other) is None


@pytest.mark.promise("R5")
def test_the_end_of_a_grant_ends_its_own_tokens_and_no_others(verifier: Either, issuer: Issuer) -> None:
    ended, other, session = issuer.token(gid="ended"), issuer.token(gid="other"), issuer.token(gid=None)
    assert reason(verifier, ended) is None
    issuer.end_session("session-1", grant="ended")
    wait_for(lambda: reason(verifier, ended) == "revoked")
    assert (reason(verifier, other), reason(verifier, session)) == (None, None)


@pytest.mark.promise("R5")
def test_who_begins_late_hears_what_has_ended_before(verifier_of: VerifierOf, issuer: Issuer) -> None:
    issuer.end_session("ended")
    assert reason(verifier_of(), issuer.token(sid="ended")) == "revoked"


@pytest.mark.promise("R5")
def test_roles_are_those_of_the_last_change(verifier: Either, issuer: Issuer) -> None:
    before = issuer.token(roles=["admin"], iat=int(time.time()) - 10)
    assert verifier.verify(before).roles == {"admin"}
    issuer.change_roles("anna", "guest")
    wait_for(lambda: verifier.verify(before).roles == {"guest"})
    assert verifier.verify(before).roles == {"guest"}
    assert verifier.verify(issuer.token(roles=["admin"], iat=int(time.time()) + 2)).roles == {"admin"}
    assert verifier.verify(issuer.token(sub="bert", roles=["admin"])).roles == {"admin"}


@pytest.mark.promise("R5")
def test_a_feed_that_breaks_off_goes_on_where_it_was(verifier: Either, issuer: Issuer) -> None:
    first, second = issuer.token(sid="first"), issuer.token(sid="second")
    issuer.end_session("first")
    wait_for(lambda: reason(verifier, first) == "revoked")
    issuer.down.add("/revocations")
    issuer.cut()
    issuer.end_session("second")
    issuer.down.clear()
    wait_for(lambda: reason(verifier, second) == "revoked")
    assert issuer.resumed_from == [None, "run-1"]


@pytest.mark.promise("R5")
def test_a_token_for_the_feed_that_is_refused_is_made_anew(verifier: Either, issuer: Issuer) -> None:
    verifier.verify(issuer.token())
    issuer.feed_token = "another"
    issuer.cut()
    issuer.end_session("ended")
    wait_for(lambda: reason(verifier, issuer.token(sid="ended")) == "revoked")
    assert issuer.hits["/oauth/token"] == 2


@pytest.mark.promise("R5")
def test_without_its_feed_a_verifier_refuses_all(verifier_of: VerifierOf, issuer: Issuer) -> None:
    verifier, token = verifier_of(silence=0.3), issuer.token()
    verifier.verify(token)
    issuer.down.add("/revocations")
    issuer.cut()
    wait_for(lambda: reason(verifier, token) == "revocations_unknown")
    assert verifier.metrics.feed == "stale"
    issuer.down.clear()
    wait_for(lambda: reason(verifier, token) is None)
    assert verifier.metrics.feed == "fresh"


@pytest.mark.promise("R5")
def test_a_feed_that_is_open_and_silent_does_not_count(verifier_of: VerifierOf, issuer: Issuer) -> None:
    verifier, token = verifier_of(silence=0.3), issuer.token()
    verifier.verify(token)
    issuer.mute = True
    wait_for(lambda: reason(verifier, token) == "revocations_unknown")


def test_heartbeats_alone_keep_a_feed_fresh(verifier_of: VerifierOf, issuer: Issuer) -> None:
    verifier = verifier_of(silence=0.3)
    verifier.verify(issuer.token())
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 0.6 and verifier.metrics.feed == "fresh")
    assert (issuer.hits["/revocations"], verifier.metrics.feed_age < 0.3) == (1, True)


@pytest.mark.promise("R5")
def test_without_its_feed_a_verifier_asks_about_each_token_if_told_to(verifier_of: VerifierOf, issuer: Issuer) -> None:
    issuer.down.add("/revocations")
    verifier, token = verifier_of(on_stale="introspect"), issuer.token()
    assert reason(verifier, token) is None
    issuer.inactive.add(token)
    assert reason(verifier, token) == "revoked"
    assert verifier.metrics.introspected == issuer.hits["/oauth/introspect"] == 2
    issuer.down.add("/oauth/introspect")
    assert reason(verifier, token) == "revocations_unknown"
    assert reason(verifier, token) == "revocations_unknown"
    assert issuer.hits["/oauth/introspect"] == 3  # and is then left alone for a second


@pytest.mark.promise("R5")
def test_without_its_feed_a_verifier_accepts_for_as_long_as_it_was_told(
    verifier_of: VerifierOf, issuer: Issuer
) -> None:
    verifier, token = verifier_of(silence=0.2, on_stale=0.5), issuer.token()
    verifier.verify(token)
    issuer.down.add("/revocations")
    issuer.cut()
    wait_for(lambda: verifier.metrics.feed == "stale")
    assert reason(verifier, token) is None
    wait_for(lambda: reason(verifier, token) == "revocations_unknown")


def test_without_credentials_it_must_be_said_that_revocations_do_not_matter(
    verifier_of: VerifierOf, issuer: Issuer
) -> None:
    for on_stale in ("refuse", "introspect", 60):
        with pytest.raises(ValueError, match="no revocation is heard of"):
            Verifier(issuer.url, AUDIENCE, on_stale=on_stale)  # type: ignore[arg-type]
    verifier = verifier_of(client_id=None, client_secret=None, on_stale=math.inf)
    assert reason(verifier, issuer.token()) is None
    assert (verifier.metrics.feed, issuer.hits["/revocations"]) == ("off", 0)


@pytest.mark.promise("R5")
@pytest.mark.parametrize("lie", ["signature", "type", "audience", "odd"])
def test_an_event_that_cannot_be_believed_makes_the_feed_stale(
    verifier_of: VerifierOf, issuer: Issuer, lie: str
) -> None:
    verifier, token = verifier_of(silence=0.3), issuer.token(sid="ended")
    verifier.verify(token)
    event = issuer.security_event("session-revoked", {"session": {"id": "ended"}}, {})
    if lie == "signature":
        issuer.tell(event, key=jwt.SigningKey(issuer.key.kid, jwt.ES256, jwt.generate(jwt.ES256).key))
    elif lie == "type":
        issuer.tell(event, typ=jwt.ACCESS_TOKEN)
    elif lie == "audience":
        issuer.tell({**event, "aud": "https://elsewhere.example"})
    else:
        issuer.tell({**event, "sub_id": {"session": "ended"}})
    wait_for(lambda: reason(verifier, token) == "revocations_unknown")
    assert verifier.metrics.revoked == 0


def test_an_event_of_a_kind_that_is_new_is_passed_over(verifier: Either, issuer: Issuer) -> None:
    verifier.verify(issuer.token())
    issuer.tell({**issuer.security_event("device-compliance-change", {}, {}), "sub_id": None})
    issuer.end_session("ended")
    wait_for(lambda: reason(verifier, issuer.token(sid="ended")) == "revoked")
    assert issuer.hits["/revocations"] == 1


@pytest.mark.promise("B9")
def test_a_key_is_asked_for_when_it_is_first_seen(verifier: Either, issuer: Issuer) -> None:
    assert reason(verifier, issuer.token()) is None
    for _ in range(2):
        issuer.rotate()
        wait_for(lambda: reason(verifier, issuer.token()) is None)
    assert issuer.hits[KEYS] <= 4


@pytest.mark.promise("B9")
def test_the_tokens_of_a_key_that_was_revoked_are_refused(verifier: Either, issuer: Issuer) -> None:
    token = issuer.token()
    verifier.verify(token)
    issuer.rotate()
    issuer.jwks = {"keys": issuer.jwks["keys"][1:]}
    issuer.send("keys")
    wait_for(lambda: reason(verifier, token) == "unknown_key")
    assert reason(verifier, issuer.token()) is None


@pytest.mark.promise("B9")
def test_no_key_is_believed_while_it_is_not_known_which_was_revoked(verifier: Either, issuer: Issuer) -> None:
    token = issuer.token()
    verifier.verify(token)
    issuer.down.add(KEYS)
    issuer.send("keys")
    wait_for(lambda: reason(verifier, token) == "issuer_unavailable")
    issuer.down.clear()
    wait_for(lambda: reason(verifier, token) is None)


@pytest.mark.promise("B9")
def test_a_flood_of_made_up_keys_costs_the_issuer_a_request_a_second(verifier: Either, issuer: Issuer) -> None:
    verifier.verify(issuer.token())
    key, before, began = jwt.generate(jwt.ES256), issuer.hits[KEYS], time.monotonic()
    for n in range(300):
        made_up = jwt.SigningKey(f"made-up-{n}", key.alg, key.key)
        assert reason(verifier, issuer.token(key=made_up)) == "unknown_key"
    assert issuer.hits[KEYS] - before <= time.monotonic() - began + 1


def test_a_herd_at_the_start_asks_for_the_keys_once(verifier_of: VerifierOf, issuer: Issuer) -> None:
    verifier = verifier_of(client_id=None, client_secret=None, on_stale=math.inf)
    barrier = threading.Barrier(16)

    def one(n: int) -> str | None:
        barrier.wait()
        return reason(verifier, issuer.token(sub=f"user-{n}"))

    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(one, range(16))) == {None}
    assert (issuer.hits[KEYS], issuer.hits["/.well-known/oauth-authorization-server"]) == (1, 1)


def test_keys_that_were_fetched_outlive_the_issuer(verifier_of: VerifierOf, issuer: Issuer) -> None:
    issuer.cache_control = "max-age=0, stale-while-revalidate=300"
    verifier = verifier_of(client_id=None, client_secret=None, on_stale=math.inf)
    verifier.verify(issuer.token())
    issuer.down.add(KEYS)
    wait_for(lambda: reason(verifier, issuer.token()) is None and issuer.hits[KEYS] > 1)
    assert reason(verifier, issuer.token()) is None


def test_keys_that_are_too_old_are_not_believed(verifier_of: VerifierOf, issuer: Issuer) -> None:
    issuer.cache_control = "max-age=0, stale-while-revalidate=0"
    verifier = verifier_of(client_id=None, client_secret=None, on_stale=math.inf)
    issuer.down.add(KEYS)
    with pytest.raises(IssuerDown):
        verifier.verify(issuer.token())


@pytest.mark.promise("B9")
@pytest.mark.parametrize("odd", [b"[]", b"", b"\xff", b'{"keys": {}}', b"[" * 100_000, b" " * 300_000 + b"{}"])
def test_keys_that_are_none_are_not_taken(verifier_of: VerifierOf, issuer: Issuer, odd: bytes) -> None:
    verifier = verifier_of(client_id=None, client_secret=None, on_stale=math.inf)
    issuer.jwks = odd
    with pytest.raises(IssuerDown):
        verifier.verify(issuer.token())


@pytest.mark.promise("B9")
@pytest.mark.parametrize(
    "lie",
    [
        {"issuer": "https://elsewhere.example"},
        {"issuer": None},
        {"jwks_uri": "https://elsewhere.example/jwks.json"},
        {"jwks_uri": None},
        {"token_endpoint": 7},
    ],
)
def test_an_issuer_speaks_for_itself_alone(verifier_of: VerifierOf, issuer: Issuer, lie: dict[str, object]) -> None:
    verifier = verifier_of(client_id=None, client_secret=None, on_stale=math.inf)
    issuer.discovery.update(lie)
    with pytest.raises(IssuerDown):
        verifier.verify(issuer.token())


@pytest.mark.parametrize("url", [
    "http://auth.example", "ftp://auth.example", "auth.example", "https://a.example?b=c", "https://a.example/", ""
])  # fmt: skip
def test_an_issuer_has_an_https_address(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        Verifier(url, AUDIENCE, on_stale=math.inf)


@pytest.mark.parametrize(
    "odd", [{"on_stale": math.nan}, {"on_stale": -1}, {"on_stale": "accept"}, {"silence": 0}, {"silence": math.nan}]
)
def test_what_is_neither_a_policy_nor_a_time_is_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="seconds"):
        Verifier("https://auth.example", AUDIENCE, client_id="orders", client_secret="secret", **odd)


def test_a_verifier_that_never_hears_the_feed_says_so_in_time(verifier_of: VerifierOf, issuer: Issuer) -> None:
    issuer.down.add("/oauth/token")
    with pytest.raises(RevocationsUnknown):
        verifier_of().verify(issuer.token())
