"""Security event tokens: what they say, and what they keep to themselves."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from authsvc.core import events, jwt
from authsvc.core.errors import Unavailable
from authsvc.core.events import Fact
from authsvc.domain.outbox import record
from authsvc.domain.revocations import Revocations, claims_of
from authsvc.models import Event
from authsvc.services import Services

ISSUER = "https://login.example.org"
AT = 1_800_000_000
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
ANNA = {"format": "iss_sub", "iss": ISSUER, "sub": "anna"}
SESSION = {"format": "complex", "user": ANNA, "session": {"format": "opaque", "id": "sid-1"}}


@pytest.mark.parametrize(
    ("fact", "subject", "event"),
    [
        (
            Fact(events.SESSION_ENDED, "anna", AT, "sid-1", id=7, request_id="r"),
            SESSION,
            {CAEP + "session-revoked": {"event_timestamp": AT}},
        ),
        (
            Fact(events.GRANT_ENDED, "anna", AT, "sid-1", {"grant": "grant-1"}, 7),
            {**SESSION, "grant": {"format": "opaque", "id": "grant-1"}},
            {CAEP + "session-revoked": {"event_timestamp": AT}},
        ),
        (
            Fact(events.ROLES_CHANGED, "anna", AT, None, {"roles": ["editor"]}, 7),
            ANNA,
            {CAEP + "token-claims-change": {"event_timestamp": AT, "claims": {"roles": ["editor"]}}},
        ),
        (
            Fact(events.ACCOUNT_CHANGED, "anna", AT, None, {"password": True}, 7),
            ANNA,
            {
                CAEP + "credential-change": {
                    "event_timestamp": AT, "credential_type": "password", "change_type": "update",
                }
            },
        ),
    ],
    ids=["session", "grant", "roles", "password"],
)  # fmt: skip
def test_a_token_says_what_has_happened_and_nothing_else(
    fact: Fact, subject: dict[str, Any], event: dict[str, Any]
) -> None:
    assert claims_of(fact, ISSUER) == {
        "iss": ISSUER, "aud": ISSUER, "iat": AT, "jti": f"{AT}-7", "sub_id": subject, "events": event,
    }  # fmt: skip


@pytest.mark.parametrize(
    "fact",
    [
        Fact(events.SESSION_STARTED, "anna", AT, "sid-1", id=7),
        Fact(events.ACCOUNT_CHANGED, "anna", AT, None, {"email": True}, 7),
        Fact(events.LOGIN_FAILED, None, AT, id=7),
        Fact(events.KEY_REVOKED, None, AT, None, {"kid": "k"}, 7),
        Fact(events.ROLES_CHANGED, "anna", AT, None, {}, 7),  # erased with the account
        Fact(events.GRANT_ENDED, "anna", AT, "sid-1", {}, 7),
    ],
)
def test_what_is_nothing_to_a_verifier_makes_no_token(fact: Fact) -> None:
    assert claims_of(fact, ISSUER) is None


@pytest.fixture
def revocations(services: Services) -> Revocations:
    return Revocations(services.db, services.keys, services.settings, services.store.clock)


def told(services: Services, tokens: list[str]) -> list[dict[str, Any]]:
    issuer = services.settings.public_url
    return [
        jwt.verify(
            token, services.keys.public(), typ=jwt.SECURITY_EVENT, issuer=issuer, audience=issuer, now=time.time(),
            must_expire=False,
        )
        for token in tokens
    ]  # fmt: skip


@pytest.mark.promise("R5")
def test_all_that_still_matters_is_told_again_in_order_with_the_same_claims(
    services: Services, revocations: Revocations
) -> None:
    now = int(time.time())
    at = {"sid-1": now - 350, "sid-2": now, "sid-0": now - 361}
    with services.db.transaction() as sql:
        facts = record(sql, [Fact(events.SESSION_ENDED, "anna", when, sid) for sid, when in at.items()])
        record(sql, [Fact(events.SESSION_STARTED, "anna", now, "sid-3")])
    signed = [token for token in revocations.sign(facts[:2]) if token]

    assert told(services, revocations.recent()) == told(services, signed)
    assert len(signed) == 2


def test_a_session_that_has_ended_is_told_though_the_account_is_erased(
    services: Services, revocations: Revocations
) -> None:
    now = int(time.time())
    with services.db.transaction() as sql:
        record(sql, [Fact(events.SESSION_ENDED, "anna", now, "sid-1")])
        record(sql, [Fact(events.ROLES_CHANGED, "anna", now, None, {"roles": ["editor"]})])
        sql.execute(update(Event).values(data={}))

    (claims,) = told(services, revocations.recent())
    assert claims["sub_id"]["session"]["id"] == "sid-1"


def test_what_is_nothing_to_a_verifier_needs_no_key(services: Services, revocations: Revocations) -> None:
    assert revocations.sign([Fact(events.SESSION_STARTED, "anna", AT, "sid-1", id=7)]) == [None]
    assert not services.keys.listed()


def test_a_command_that_does_not_know_our_address_signs_nothing(make_services: Callable[..., Services]) -> None:
    services = make_services(public_url="")

    with pytest.raises(Unavailable):
        Revocations(services.db, services.keys, services.settings, time.time).sign(
            [Fact(events.SESSION_ENDED, "anna", AT, "sid-1", id=7)]
        )
