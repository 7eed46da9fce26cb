"""Who shows a token: what is believed of it, and that it dies with what it hangs on."""

from collections.abc import Callable
from contextlib import closing

import pytest
from sqlalchemy import event, insert

from authsvc.core import jwt
from authsvc.core.crypto import Token
from authsvc.core.errors import StorageDown, TokenRefused
from authsvc.core.session import Session
from authsvc.core.settings import MINUTE
from authsvc.domain.accounts import Account
from authsvc.domain.bearers import Bearer, token_in
from authsvc.domain.clients import Client
from authsvc.domain.codes import Request
from authsvc.domain.grants import REVOKED
from authsvc.domain.sessions import Origin
from authsvc.domain.tokens import ACCESS_LIFE, SESSION_CLIENT
from authsvc.models import RevokedToken, table
from authsvc.services import Services, build
from tests.conftest import ORIGIN
from tests.contract.schedule import Clock
from tests.servers import Valkey

MakeServices = Callable[..., Services]


@pytest.fixture
def anna(services: Services) -> Account:
    return services.accounts.create("anna@example.org", "no password", name="Anna", roles=("editor",))


@pytest.fixture
def login(services: Services, anna: Account) -> tuple[Session, Token]:
    origin = Origin("192.0.2.1", "Firefox on Linux")
    return services.sessions.create(anna.id, 0, amr=("pwd",), remember=False, origin=origin)


@pytest.fixture
def own(login: tuple[Session, Token]) -> Session:
    return login[0]


@pytest.fixture
def access(services: Services, own: Session) -> str:
    """The session's own token."""
    return services.tokens.of_session(own, client_id=SESSION_CLIENT, scope="forward-auth", audience=ORIGIN)


@pytest.fixture
def service(services: Services) -> Client:
    return services.clients.create("service", service=True)[0]


@pytest.fixture
def service_token(services: Services, service: Client) -> str:
    return services.tokens.of_client(service.id, scope="publish", audience=ORIGIN)


def refused(services: Services, token: str) -> str:
    with pytest.raises(TokenRefused) as caught:
        services.bearers.check(token)
    return caught.value.reason


def granted(services: Services, own: Session) -> tuple[str, str]:
    """What a client got by a code: the id of the grant, and an access token."""
    client, _ = services.clients.create("app", redirect_uris=("https://app.example/back",))
    request = Request(client.id, client.redirect_uris[0], ("openid",), ORIGIN, "c" * 43, None)
    code = services.codes.find(services.codes.issue(own, request))
    assert code
    grant = services.grants.redeem(code, refreshing=True).id
    return grant, services.tokens.of_session(own, client_id=client.id, scope="openid", audience=ORIGIN, grant=grant)


# -- of sessions ---------------------------------------------------------------------------------------------------


def test_the_token_of_a_session_says_who_asks(services: Services, own: Session, access: str) -> None:
    claims = services.tokens.claims(access)

    assert services.bearers.check(access) == Bearer(
        "session", own.user, SESSION_CLIENT, ("forward-auth",), (ORIGIN,), claims["iat"], claims["iat"] + ACCESS_LIFE,
        claims["jti"], own.user, "anna@example.org", "Anna", ("editor",), own.sid, ("pwd",), own.authenticated,
    )  # fmt: skip


@pytest.mark.promise("R5")
def test_after_the_logout_the_token_is_refused_at_once_by_every_process(
    services: Services, make_services: MakeServices, login: tuple[Session, Token], access: str
) -> None:
    other = make_services()
    assert services.bearers.check(access)
    assert other.bearers.check(access)

    services.sessions.logout(login[1])

    assert refused(services, access) == "revoked"
    assert refused(other, access) == "revoked"


def test_roles_and_name_are_those_of_now(services: Services, anna: Account, access: str) -> None:
    assert services.bearers.check(access).roles == ("editor",)
    services.accounts.set_roles(anna.email, ("admin",))
    assert services.bearers.check(access).roles == ("admin",)


def test_a_check_asks_redis_once_and_sql_not_at_all(services: Services, access: str, valkey: Valkey) -> None:
    services.bearers.check(access)
    statements: list[str] = []
    event.listen(services.db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    with valkey.client() as client:
        before = client.info("commandstats")["cmdstat_get"]["calls"]
        for _ in range(3):
            services.bearers.check(access)
        assert client.info("commandstats")["cmdstat_get"]["calls"] - before == 3
    assert statements == []


def test_an_expired_token_is_refused_also_where_its_signature_is_remembered(
    services: Services, own: Session, access: str
) -> None:
    clock = Clock()
    clock.now = services.store.clock()
    with closing(build(services.settings, clock)) as process:
        expires = process.bearers.check(access).expires or 0
        clock.now = expires + 4  # within what clocks may differ
        assert process.bearers.check(access)
        clock.tick(1)
        assert refused(process, access) == "expired"


def test_a_token_that_was_used_does_not_keep_its_session_alive(
    services: Services, make_services: MakeServices, own: Session, access: str
) -> None:
    make_services(later=2 * MINUTE).bearers.check(access)
    assert [listed.seen for listed in services.sessions.of_user(own.user)] == [own.seen]


def test_a_key_that_is_revoked_takes_its_tokens_with_it(services: Services, access: str) -> None:
    assert services.bearers.check(access)
    services.keys.revoke(jwt.kid_of(access))
    assert refused(services, access) == "unknown_key"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"typ": "JWT"}, "type"), ({"typ": "logout+jwt"}, "type"), ({"iss": "https://evil.example"}, "issuer"),
        ({"exp": 1}, "expired"), ({"iat": 2**39}, "not_yet"), ({"sid": "A" * 22}, "revoked"),
    ],
)  # fmt: skip
def test_another_kind_of_token_is_refused(
    services: Services, access: str, changed: dict[str, object], reason: str
) -> None:
    claims = {**services.tokens.claims(access), **changed}
    typ = str(claims.pop("typ", jwt.ACCESS_TOKEN))
    assert refused(services, jwt.sign(services.keys.signing(), typ, claims)) == reason


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "." * 200, "ä", "art_" + "A" * 51, "\ud800", "a" * 100_000])
def test_what_is_no_token_is_refused(services: Services, token: str) -> None:
    assert refused(services, token) == "malformed"


def test_a_signature_is_not_remembered_for_a_token_with_another_one(services: Services, access: str) -> None:
    assert services.bearers.check(access)
    head, _, signature = access.rpartition(".")
    assert refused(services, f"{head}.{'A' * len(signature)}") == "signature"


# -- of grants -----------------------------------------------------------------------------------------------------


@pytest.mark.promise("R5")
def test_a_grant_that_has_ended_alone_takes_its_tokens_with_it_and_no_others(
    services: Services, make_services: MakeServices, own: Session, access: str
) -> None:
    other = make_services()
    grant, token = granted(services, own)
    _, staying = granted(services, own)
    assert other.bearers.check(token).kind == "grant"

    services.grants.end(grant, REVOKED)

    assert refused(services, token) == "revoked"
    assert refused(other, token) == "revoked"
    assert other.bearers.check(staying).kind == "grant"
    assert other.bearers.check(access).kind == "session"


# -- of services ---------------------------------------------------------------------------------------------------


def test_a_service_shows_its_own_token(services: Services, service: Client, service_token: str) -> None:
    found = services.bearers.check(service_token)
    assert (found.kind, found.subject, found.client_id, found.scopes) == (
        "client",
        service.id,
        service.id,
        ("publish",),
    )
    assert (found.user, found.sid, found.roles, found.authenticated) == ("", "", (), None)


def test_a_services_token_dies_with_its_client(services: Services, service: Client, service_token: str) -> None:
    services.grants.delete_client(service.id)
    assert refused(services, service_token) == "revoked"


def test_a_services_token_can_be_revoked_alone(services: Services, service: Client, service_token: str) -> None:
    claims = services.tokens.claims(service_token)
    with services.db.transaction() as sql:
        sql.execute(insert(table(RevokedToken)), {"jti": claims["jti"], "expires_at": claims["exp"]})
    assert refused(services, service_token) == "revoked"
    assert services.bearers.check(services.tokens.of_client(service.id, scope="", audience=ORIGIN))


# -- of people's programs ------------------------------------------------------------------------------------------


def test_an_api_key_comes_from_no_login(services: Services, anna: Account, make_services: MakeServices) -> None:
    keys = make_services(audiences=("https://notes.example",))
    _, text = keys.api_keys.create(anna.id, "backup")
    found = keys.bearers.check(text)
    assert (found.kind, found.user, found.roles, found.email) == ("api_key", anna.id, ("editor",), anna.email)
    assert (found.sid, found.amr, found.authenticated, found.client_id) == ("", (), None, "")
    assert found.audiences == (ORIGIN, "https://notes.example")


# -- nobody can tell -----------------------------------------------------------------------------------------------


def test_when_no_store_answers_nobody_is_believed(
    services: Services, anna: Account, access: str, service_token: str, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = services.api_keys.create(anna.id, "backup")
    tokens = [access, service_token, key]
    assert all(services.bearers.check(token) for token in tokens)
    valkey.kill()
    assert all(services.bearers.check(token) for token in tokens)  # by SQL

    def broken() -> None:
        raise StorageDown

    monkeypatch.setattr(services.db, "reading", broken)
    for token in tokens:
        with pytest.raises(StorageDown):
            services.bearers.check(token)


# -- the header ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER   abc", "Bearer abc ", "Bearer abc\t"])
def test_the_scheme_has_any_case(header: str) -> None:
    assert token_in(header) == "abc"


@pytest.mark.parametrize(
    "header", ["", "Basic YW5uYTpwdw==", 'Digest username="bearer x"', "Bearertoken", "Basic bearer", "Token bearer"]
)
def test_other_schemes_are_somebody_elses(header: str) -> None:
    assert token_in(header) is None


@pytest.mark.parametrize(
    "header",
    [
        "Bearer", "Bearer ", "bearer\tabc", "Bearer a b", "Bearer a,Bearer b", "Bearer a, Basic b", "Basic a,Bearer b",
        "Basic a, bearer b", "Bearer ä", "Bearer \xff", "Bearer a\0", "Bearer =", "Bearer a=b", 'Bearer "a"',
        "Bearer,Bearer", ",Bearer a", " Bearer a,",
    ],
)  # fmt: skip
def test_a_header_that_is_not_clear_is_refused(header: str) -> None:
    with pytest.raises(TokenRefused):
        token_in(header)
