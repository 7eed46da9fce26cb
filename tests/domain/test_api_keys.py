"""API keys: shown once, kept as a hash, good until they are revoked, expired, or their owner is gone."""

import base64
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, event, select, update

from authsvc.core import events
from authsvc.core.crypto import SECRET_BYTES, SID_BYTES, read_token, write_token
from authsvc.core.errors import InvalidFields, NotFound, StorageDown, TokenRefused, TooMany
from authsvc.core.session import Session
from authsvc.core.settings import DAY, HOUR, MINUTE
from authsvc.domain import links
from authsvc.domain.accounts import Account
from authsvc.domain.api_keys import DEFAULT_SCOPES, MOST, PREFIX, Shown
from authsvc.domain.links import Proof
from authsvc.domain.sessions import Origin
from authsvc.login.flow import Caller
from authsvc.models import ApiKey as Row
from authsvc.models import Event, Link, User
from authsvc.services import Services
from tests.conftest import PASSWORD

MakeServices = Callable[..., Services]
CALLER = Caller(Origin("192.0.2.1", "Firefox"))


@pytest.fixture
def anna(services: Services) -> Account:
    return services.accounts.create("anna@example.org", services.hasher.hash(PASSWORD), name="Anna", roles=("editor",))


@pytest.fixture
def key(services: Services, anna: Account) -> str:
    return services.api_keys.create(anna.id, "backup")[1]


def refused(services: Services, key: str) -> str:
    with pytest.raises(TokenRefused) as caught:
        services.api_keys.shown(key)
    return caught.value.reason


def facts(services: Services) -> list[tuple[str, str | None, dict[str, object]]]:
    names = (events.API_KEY_CREATED, events.API_KEY_REVOKED)
    with services.db.reading() as sql:
        rows = sql.execute(
            select(Event.name, Event.user_id, Event.data).where(Event.name.in_(names)).order_by(Event.id)
        )
        return [(name, user, data) for name, user, data in rows]


def statements(services: Services) -> list[str]:
    """Those that run from now on."""
    found: list[str] = []
    event.listen(services.db.engine, "before_cursor_execute", lambda *given: found.append(given[2]))
    return found


def log_in(services: Services, email: str = "anna@example.org") -> Session:
    return services.login.with_password(email, PASSWORD, remember=False, caller=CALLER)[0]


# -- what a key is -------------------------------------------------------------------------------------------------


def test_a_key_says_whose_it_is_and_what_it_allows(services: Services, anna: Account) -> None:
    key, text = services.api_keys.create(anna.id, "backup", life=HOUR)

    assert services.api_keys.shown(text) == Shown(
        key.id, DEFAULT_SCOPES, key.created, key.created + HOUR, anna.id, "anna@example.org", "Anna", ("editor",)
    )
    assert text.startswith(PREFIX)
    assert len(text) == 4 + 88
    assert facts(services) == [(events.API_KEY_CREATED, anna.id, {"key": key.id, "name": "backup"})]


def test_name_and_roles_are_those_of_now(services: Services, anna: Account, key: str) -> None:
    services.accounts.set_roles(anna.email, ("admin",))
    assert services.api_keys.shown(key).roles == ("admin",)


@pytest.mark.promise("B7")
def test_of_a_key_only_a_hash_is_stored(services: Services, key: str) -> None:
    secret = base64.urlsafe_b64decode(key[4:])[SID_BYTES : SID_BYTES + SECRET_BYTES]
    with services.db.reading() as sql:
        stored = sql.scalars(select(Row.hash)).one()
    assert secret not in stored
    assert stored not in base64.urlsafe_b64decode(key[4:])


def test_a_key_that_an_older_secret_has_made_stays_good(
    services: Services, make_services: MakeServices, key: str
) -> None:
    newer = (SecretStr(secrets.token_urlsafe(32)), *services.settings.secret_keys)
    assert make_services(secret_keys=newer).api_keys.shown(key)
    assert refused(make_services(secret_keys=newer[:1]), key) == "malformed"


# -- refused -------------------------------------------------------------------------------------------------------


def test_a_key_that_we_never_made_is_refused_without_a_look_up(services: Services, key: str) -> None:
    asked = statements(services)
    for position in range(4, len(key)):
        other = "A" if key[position] != "A" else "B"
        assert refused(services, f"{key[:position]}{other}{key[position + 1 :]}") == "malformed"
    for odd in (PREFIX, key + "A", key[:-1], key.replace("ask_", "ask_ "), PREFIX + "ä" * 88, PREFIX + "\0" * 88):
        assert refused(services, odd) == "malformed"
    assert asked == []


def test_a_cookie_is_no_key(services: Services, anna: Account, key: str) -> None:
    token = services.login.with_password(anna.email, PASSWORD, remember=False, caller=CALLER)[1]
    assert refused(services, PREFIX + write_token(services.keyring, token)) == "malformed"
    assert read_token(services.keyring, key.removeprefix(PREFIX)) is None


def test_the_secret_is_compared_with_what_is_stored(services: Services, anna: Account, key: str) -> None:
    """A tag alone opens nothing: it says only that we have made the key once."""
    other = services.api_keys.create(anna.id, "other")[0]
    with services.db.transaction() as sql:
        stored = sql.scalars(select(Row.hash).where(Row.id == other.id)).one()
        sql.execute(update(Row).where(Row.id != other.id).values(hash=stored))
    assert refused(services, key) == "revoked"


def test_a_revoked_key_is_refused_at_once_and_by_its_owner_alone(services: Services, anna: Account, key: str) -> None:
    eve = services.accounts.create("eve@example.org", services.hasher.hash(PASSWORD))
    key_id = services.api_keys.shown(key).id
    with pytest.raises(NotFound):
        services.api_keys.revoke(eve.id, key_id)
    assert services.api_keys.shown(key)

    services.api_keys.revoke(anna.id, key_id)

    assert refused(services, key) == "revoked"
    assert services.api_keys.of_user(anna.id) == []
    assert facts(services)[1:] == [(events.API_KEY_REVOKED, anna.id, {"key": key_id, "name": "backup"})]
    with pytest.raises(NotFound):
        services.api_keys.revoke(anna.id, key_id)


def test_an_expired_key_is_refused(services: Services, anna: Account, make_services: MakeServices) -> None:
    _, key = services.api_keys.create(anna.id, "backup", life=HOUR)
    assert make_services(later=HOUR - 5).api_keys.shown(key)
    assert refused(make_services(later=HOUR + 1), key) == "expired"


def test_a_key_whose_owner_is_erased_is_refused(services: Services, key: str) -> None:
    with services.db.transaction() as sql:
        sql.execute(delete(User))
    assert refused(services, key) == "revoked"


def test_while_an_account_waits_for_its_deletion_its_keys_are_refused(
    services: Services, anna: Account, key: str
) -> None:
    services.deletions.ask(anna.id)
    assert refused(services, key) == "revoked"

    services.deletions.keep(anna.id)
    assert services.api_keys.shown(key)


# -- what ends all of them -----------------------------------------------------------------------------------------


def test_disabling_an_account_revokes_its_keys_for_good(services: Services, anna: Account, key: str) -> None:
    services.accounts.disable(anna.email)
    assert refused(services, key) == "revoked"
    services.accounts.enable(anna.email)
    assert refused(services, key) == "revoked"


def test_a_password_that_is_reset_revokes_all_keys_and_one_that_is_changed_none(
    services: Services, anna: Account, key: str
) -> None:
    services.recovery.change(log_in(services), PASSWORD, PASSWORD + "!", CALLER)
    assert services.api_keys.shown(key)

    services.recovery.forgot(anna.email, "192.0.2.1")
    services.recovery.reset(Proof(token_of(services, links.RESET)), PASSWORD + "?")

    assert refused(services, key) == "revoked"


def test_who_does_not_know_a_login_has_all_keys_revoked(services: Services, anna: Account, key: str) -> None:
    """Whoever it was may have made one."""
    log_in(services)
    log_in(services)  # of this one the owner is told
    services.recovery.disown(token_of(services, links.NOT_ME))
    assert refused(services, key) == "revoked"


def test_ends_of_sessions_revoke_no_key(services: Services, anna: Account, key: str) -> None:
    services.sessions.end_all(anna.id)
    assert services.api_keys.shown(key)


def token_of(services: Services, purpose: str) -> str:
    with services.db.reading() as sql:
        link = sql.scalars(select(Link.id).where(Link.purpose == purpose)).one()
    return links.token(services.keyring, link, purpose)


# -- made, listed, used --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\nb", "a\0b", "\u202eabc"])
def test_a_name_is_short_and_printable(services: Services, anna: Account, name: str) -> None:
    with pytest.raises(InvalidFields) as caught:
        services.api_keys.create(anna.id, name)
    assert [(error.field, error.code) for error in caught.value.errors] == [("name", "invalid")]


@pytest.mark.parametrize("scope", ["", "publish", "openid", "notes:write", "forward-auth "])
def test_a_key_has_scopes_that_it_can_have(make_services: MakeServices, anna: Account, scope: str) -> None:
    keys = make_services(scopes=("notes:read",)).api_keys
    assert keys.create(anna.id, "fine", wanted=("notes:read",))[0].scopes == ("notes:read",)
    with pytest.raises(InvalidFields) as caught:
        keys.create(anna.id, "backup", wanted=("notes:read", scope))
    assert [(error.field, error.code) for error in caught.value.errors] == [("scopes", "unknown_scope")]
    with pytest.raises(InvalidFields):
        keys.create(anna.id, "backup", wanted=())


@pytest.mark.parametrize("life", [0, -1, MINUTE - 1, 3650 * DAY + 1, 2**63])
def test_a_key_lives_from_a_minute_to_ten_years(services: Services, anna: Account, life: int) -> None:
    with pytest.raises(InvalidFields):
        services.api_keys.create(anna.id, "backup", life=life)


def test_a_person_has_fifty_keys_at_most_also_when_many_are_asked_for_at_once(
    services: Services, anna: Account
) -> None:
    def make(number: int) -> bool:
        try:
            services.api_keys.create(anna.id, str(number))
        except TooMany:
            return False
        return True

    for number in range(MOST - 2):
        assert make(number)
    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(make, range(6))) == 2
    services.api_keys.revoke(anna.id, services.api_keys.of_user(anna.id)[0].id)
    assert make(0)


def test_use_is_noted_once_a_minute(services: Services, anna: Account, make_services: MakeServices, key: str) -> None:
    def used() -> int | None:
        return services.api_keys.of_user(anna.id)[0].used

    assert used() is None
    services.api_keys.shown(key)
    first = used()
    assert first
    asked = statements(services)
    services.api_keys.shown(key)
    assert not [each for each in asked if each.startswith("UPDATE")]
    make_services(later=MINUTE + 1).api_keys.shown(key)
    assert (used() or 0) > first


def test_a_key_is_good_though_its_use_cannot_be_noted(
    services: Services, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise StorageDown

    monkeypatch.setattr(services.db, "transaction", broken)
    assert services.api_keys.shown(key)


def test_the_clean_up_takes_keys_that_are_long_over(
    services: Services, anna: Account, make_services: MakeServices
) -> None:
    services.api_keys.create(anna.id, "for good")
    services.api_keys.create(anna.id, "for a day", life=DAY)
    revoked, _ = services.api_keys.create(anna.id, "revoked")
    services.api_keys.revoke(anna.id, revoked.id)

    def left_after(seconds: int) -> list[str]:
        after = make_services(later=seconds)
        after.upkeep.clean_up(after.store.clock() + 60)
        with services.db.reading() as sql:
            return list(sql.scalars(select(Row.name).order_by(Row.name)))

    assert left_after(90 * DAY - HOUR) == ["for a day", "for good", "revoked"]
    assert left_after(90 * DAY + HOUR) == ["for a day", "for good"]
    assert left_after(91 * DAY + HOUR) == ["for good"]
