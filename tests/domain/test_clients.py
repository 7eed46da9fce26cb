"""Applications: each is who it says by its secret, and may ask for what it was registered with."""

from collections.abc import Callable

import pytest

from authsvc.core.errors import InvalidFields, NotFound
from authsvc.domain.clients import BELIEVED, Client
from authsvc.models import Client as Row
from authsvc.services import Services
from tests.conftest import ORIGIN, make_settings
from tests.contract.schedule import Clock


@pytest.fixture
def clock(services: Services) -> Clock:
    clock = Clock()
    services.clients._clock = clock
    return clock


REDIRECT = "https://app.example.org/callback"


def create(services: Services, **given: object) -> tuple[Client, str]:
    client, secret = services.clients.create("App", **{"redirect_uris": (REDIRECT,), **given})  # type: ignore[arg-type]
    return client, secret or ""


def test_a_client_is_known_by_its_secret_alone(services: Services) -> None:
    client, secret = create(services)
    other, other_secret = create(services)

    assert services.clients.authenticate(client.id, secret) == client
    for client_id, wrong in (
        (client.id, other_secret), (client.id, secret[:-1]), (client.id, secret + "A"), (client.id, ""),
        (client.id, "\udcff"), (other.id, secret), ("nobody", secret), ("", secret),
    ):  # fmt: skip
        assert services.clients.authenticate(client_id, wrong) is None


def test_a_public_client_has_no_secret_that_could_be_right(services: Services) -> None:
    client, secret = create(services, public=True)

    assert (client.public, secret) == (True, "")
    assert services.clients.authenticate(client.id, "") is None


def test_a_new_secret_is_good_and_the_old_one_dead(
    services: Services, make_services: Callable[..., Services], clock: Clock
) -> None:
    client, old = create(services)
    other = make_services()
    other.clients._clock = clock
    assert other.clients.authenticate(client.id, old)

    new = services.clients.rotate_secret(client.id)
    clock.now += BELIEVED + 1

    for each in (services, other):
        assert each.clients.authenticate(client.id, new) == client
        assert each.clients.authenticate(client.id, old) is None
    for nobody in ("nobody", create(services, public=True)[0].id):
        with pytest.raises(NotFound):
            services.clients.rotate_secret(nobody)


def test_the_secret_of_the_installation_can_change(services: Services, make_services: Callable[..., Services]) -> None:
    client, secret = create(services)
    new = make_settings().secret_keys

    assert make_services(secret_keys=(*new, *services.settings.secret_keys)).clients.authenticate(client.id, secret)
    assert make_services(secret_keys=new).clients.authenticate(client.id, secret) is None


@pytest.mark.promise("B7")
def test_a_secret_is_not_stored(services: Services) -> None:
    client, secret = create(services)

    with services.db.reading() as sql:
        row = sql.get_one(Row, client.id)
        assert row.secret
        assert secret.encode() not in row.secret


def test_a_stored_secret_is_good_for_its_own_client_alone(
    services: Services, make_services: Callable[..., Services]
) -> None:
    (client, secret), (other, _) = create(services), create(services)
    with services.db.transaction() as sql:  # somebody who may write there, and knows one secret
        sql.get_one(Row, other.id).secret = sql.get_one(Row, client.id).secret

    assert make_services().clients.authenticate(other.id, secret) is None


def test_a_client_without_wishes_logs_people_in(services: Services) -> None:
    client, _ = create(services)

    assert client.grant_types == ("authorization_code", "refresh_token")
    assert client.scopes == ("openid", "profile", "email", "offline_access")
    assert client.audiences == (ORIGIN,)
    assert not client.first_party


def test_a_service_gets_tokens_for_itself(services: Services) -> None:
    client, secret = create(services, redirect_uris=(), service=True, wanted_scopes=("revocations",))

    assert client.grant_types == ("client_credentials",)
    assert secret


@pytest.mark.asvs("V10.4.11")
def test_only_a_service_may_ask_for_what_is_a_services(services: Services) -> None:
    with pytest.raises(InvalidFields):
        create(services, wanted_scopes=("publish",))


def test_scopes_and_audiences_are_those_of_the_installation(make_services: Callable[..., Services]) -> None:
    services = make_services(scopes=("notes:read",), audiences=("https://notes.example.org",))

    client, _ = create(services, wanted_scopes=("notes:read",), audiences=("https://notes.example.org",))

    assert (client.scopes, client.audiences) == (("notes:read",), ("https://notes.example.org",))
    for wrong in ({"wanted_scopes": ("notes:write",)}, {"audiences": ("https://other.example.org",)}):
        with pytest.raises(InvalidFields):
            create(services, **wrong)


@pytest.mark.parametrize("uri", [
    REDIRECT, "https://app.example.org", "https://app.example.org:8443/cb?a=b", "http://127.0.0.1/cb",
    "http://127.0.0.1:3000/cb", "http://localhost:3000/", "http://[::1]/cb", "org.example.app:/cb",
])  # fmt: skip
def test_a_redirect_uri_leads_to_a_place_that_is_its_own(services: Services, uri: str) -> None:
    assert create(services, redirect_uris=(uri,))[0].redirect_uris == (uri,)


@pytest.mark.promise("B8")
@pytest.mark.parametrize("uri", [
    "", "/cb", "//app.example.org/cb", "http://app.example.org/cb", "https://*.example.org/cb", "https:///cb",
    "https://app.example.org/cb#x", "https://anna:secret@app.example.org/cb", "javascript:alert(1)",
    "data:text/html,x", "https://app.example.org\\cb", "https://app.example.org/c b", "https://app.example.org/\n",
    "https://äpp.example.org/", "myapp:/cb", "file:///etc/passwd", "https://[::1/cb",
    "https://app.example.org/" + "a" * 2048,
])  # fmt: skip
def test_a_redirect_uri_is_refused_that_could_lead_elsewhere(services: Services, uri: str) -> None:
    for field in ({"redirect_uris": (uri,)}, {"logout_uris": (uri,)}, {"backchannel_uri": uri} if uri else {}):
        if field:
            with pytest.raises(InvalidFields):
                create(services, **field)


@pytest.mark.parametrize(("name", "given"), [
    ("", {}), ("x" * 201, {}), ("a\nb", {}), ("App", {"redirect_uris": ()}), ("App", {"public": True, "service": True}),
])  # fmt: skip
def test_a_client_that_makes_no_sense_is_refused(services: Services, name: str, given: dict[str, object]) -> None:
    with pytest.raises(InvalidFields):
        services.clients.create(name, **{"redirect_uris": (REDIRECT,), **given})  # type: ignore[arg-type]


def test_a_deleted_client_is_unknown_within_seconds(services: Services, clock: Clock) -> None:
    client, secret = create(services)
    assert services.clients.find(client.id)

    services.grants.delete_client(client.id)
    clock.now += BELIEVED + 1

    assert services.clients.find(client.id) is None
    assert services.clients.authenticate(client.id, secret) is None
    assert services.clients.all() == []
    with pytest.raises(NotFound):
        services.grants.delete_client(client.id)
