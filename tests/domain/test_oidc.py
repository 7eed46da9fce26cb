"""ID tokens, and where a browser may be sent."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace

import jwt as pyjwt
import pytest

from authsvc.core.errors import TokenRefused
from authsvc.core.settings import DAY
from authsvc.domain.clients import Client
from authsvc.domain.grants import Granted
from authsvc.domain.oidc import Hint
from authsvc.domain.redirects import may_redirect, source, with_parameters
from authsvc.domain.sessions import Origin
from authsvc.services import Services
from tests.conftest import ORIGIN


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Nothing here depends on the kind of database."""
    return sqlite_url


@pytest.fixture
def granted(services: Services) -> Granted:
    anna = services.accounts.create("anna@example.org", "hash")
    origin = Origin("192.0.2.1", "Firefox")
    session, _ = services.sessions.create(anna.id, 0, amr=("pwd",), remember=False, origin=origin)
    return Granted("a grant", session, "a client", "openid", ORIGIN, session.created, None, "a nonce")


@pytest.mark.parametrize(("alg", "digest"), [("ES256", "sha256"), ("EdDSA", "sha512"), ("RS256", "sha256")])
def test_an_id_token_is_good_for_a_library_that_knows_nothing_of_us(
    granted: Granted, make_services: Callable[..., Services], alg: str, digest: str
) -> None:
    services = make_services(signing_alg=alg)
    token = services.oidc.id_token(granted, "an access token")
    key = pyjwt.PyJWKSet.from_dict(services.keys.jwks())[pyjwt.get_unverified_header(token)["kid"]]
    claims = pyjwt.decode(token, key, audience="a client", issuer=ORIGIN, options={"require": ["exp", "iat", "sub"]})
    half = hashlib.new(digest, b"an access token").digest()
    half = half[: len(half) // 2]
    assert claims["at_hash"] == base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    assert (claims["sub"], claims["sid"]) == (granted.session.user, granted.session.sid)
    assert (claims["nonce"], claims["amr"], claims["acr"]) == ("a nonce", ["pwd"], "aal1")
    assert claims["auth_time"] == granted.session.authenticated
    assert not {"email", "name"} & claims.keys()  # these are for userinfo


def test_an_id_token_tells_the_time_of_the_login_it_is_about_and_no_other(services: Services, granted: Granted) -> None:
    later = granted.session._replace(authenticated=granted.since + 60)  # proved anew, then refreshed
    token = services.oidc.id_token(replace(granted, session=later), "x")
    assert "auth_time" not in pyjwt.decode(token, options={"verify_signature": False})


@pytest.mark.asvs("V9.2.2")
def test_an_id_token_is_no_access_token_and_the_other_way_round(services: Services, granted: Granted) -> None:
    access = services.tokens.of_session(granted.session, client_id="a client", scope="openid", audience=ORIGIN)
    assert services.oidc.hint(access) is None
    with pytest.raises(TokenRefused):
        services.tokens.claims(services.oidc.id_token(granted, access))


def test_an_id_token_is_a_hint_long_after_it_has_expired(
    services: Services, granted: Granted, make_services: Callable[..., Services]
) -> None:
    token = services.oidc.id_token(granted, "x")
    assert make_services(later=80 * DAY).oidc.hint(token) == Hint("a client", granted.session.user, granted.session.sid)


def test_an_id_token_of_somebody_else_is_no_hint(services: Services, granted: Granted) -> None:
    token = services.oidc.id_token(granted, "x")
    head, body, signature = token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT","kid":"x"}').rstrip(b"=").decode()
    for forged in ("", "x", f"{head}.{body}.", f"{none}.{body}.", f"{head}.{body[:-2]}AA.{signature}", token + "A"):
        assert services.oidc.hint(forged) is None


# -- addresses ---------------------------------------------------------------------------------------------------------


def client(*uris: str, public: bool = True) -> Client:
    return Client("x", "X", public, (), uris, (), None, (), (), False, 0)


REGISTERED = "https://shop.example/cb"
HOSTILE = [
    "", " " + REGISTERED, REGISTERED + " ", REGISTERED + "/", REGISTERED + "?", REGISTERED + "#", REGISTERED + "#x",
    REGISTERED + "/../cb", "https://shop.example/x/../cb", "https://shop.example//cb", "https://shop.example/%63b",
    "https://shop.example/CB", "HTTPS://shop.example/cb", "https://SHOP.example/cb", "https://shop.example:443/cb",
    "https://shop.example:8443/cb", "http://shop.example/cb", "https://shop.example.evil.example/cb",
    "https://evil.example/shop.example/cb", "https://evilshop.example/cb", "https://sub.shop.example/cb",
    "https://shop.example@evil.example/cb", "https://user@shop.example/cb", "https://evil.example\\@shop.example/cb",
    "https://shop.example\\.evil.example/cb", "//shop.example/cb", "/cb", "cb", "javascript:alert(1)",
    "data:text/html,x", "https://shop.example/cb?x=1", "https://shop.example/cb\r\nX: y", "https://shop.example/cb\0",
    "https://shop.example./cb", "https://xn--shop.example/cb", "https:///shop.example/cb", "https:shop.example/cb",
    "https://shop.example/cb;x", "https://shop.example/cb%00", "https://shop.example/c\u0062\u200b",
]  # fmt: skip


@pytest.mark.promise("B8")
@pytest.mark.parametrize("uri", HOSTILE)
@pytest.mark.parametrize("public", [True, False])
@pytest.mark.asvs("V10.4.1")
def test_nobody_is_sent_to_what_only_looks_like_the_clients_address(uri: str, public: bool) -> None:
    assert may_redirect(client(REGISTERED, public=public), REGISTERED)
    assert not may_redirect(client(REGISTERED, public=public), uri)


@pytest.mark.parametrize(
    ("registered", "uri", "allowed"),
    [
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", True),
        ("http://127.0.0.1:8000/cb", "http://127.0.0.1:51004/cb", True),
        ("http://[::1]/cb", "http://[::1]:51004/cb", True),
        ("http://127.0.0.1/cb?a=b", "http://127.0.0.1:51004/cb?a=b", True),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/other", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb?x", False),
        ("http://127.0.0.1/cb", "https://127.0.0.1:51004/cb", False),
        ("http://127.0.0.1/cb", "http://[::1]:51004/cb", False),
        ("http://127.0.0.1/cb", "http://localhost:51004/cb", False),
        ("http://127.0.0.1/cb", "http://127.0.0.2:51004/cb", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004@evil.example/cb", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1:1234567/cb", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1:\u0661/cb", False),
        ("http://localhost/cb", "http://localhost:51004/cb", False),
        ("https://127.0.0.1/cb", "https://127.0.0.1:51004/cb", False),
        ("com.example.app:/cb", "com.example.app:/cb", True),
        ("com.example.app:/cb", "com.example.app:/cb2", False),
    ],
)
def test_only_the_port_of_a_loopback_address_is_free(registered: str, uri: str, allowed: bool) -> None:
    assert may_redirect(client(registered), uri) is allowed


def test_a_client_with_a_secret_runs_on_a_server_and_has_no_free_port() -> None:
    confidential = client("http://127.0.0.1:8000/cb", public=False)
    assert may_redirect(confidential, "http://127.0.0.1:8000/cb")
    assert not may_redirect(confidential, "http://127.0.0.1:8001/cb")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://shop.example/cb?x=1", "https://shop.example"),
        ("https://Shop.Example:8443/cb", "https://shop.example:8443"),
        ("http://127.0.0.1:51004/cb", "http://127.0.0.1:51004"),
        ("com.example.app:/cb", "com.example.app:"),
        ("http://[::1]:5000/cb", ""),
        ("https://shop.example;script-src/cb", ""),
        ("https://a,b/cb", ""),
    ],
)
def test_a_policy_names_one_origin_and_nothing_can_be_written_into_it(uri: str, expected: str) -> None:
    assert source(uri) == expected


def test_what_is_told_is_added_to_a_query_that_stays_as_it_is() -> None:
    told = [("code", "x y"), ("state", "a&b=c\r\nd")]
    assert with_parameters("https://a/cb", told) == "https://a/cb?code=x+y&state=a%26b%3Dc%0D%0Ad"
    assert with_parameters("https://a/cb?q=%7e+1&f", told[:1]) == "https://a/cb?q=%7e+1&f&code=x+y"
