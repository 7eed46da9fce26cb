"""`authsvc client` and `authsvc key`."""

import json
from typing import Any

from authsvc.services import Services
from tests.cli.conftest import Cli

REDIRECT = "https://app.example.org/callback"


def answered(cli: Cli, *arguments: str) -> Any:
    result = cli(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_client_is_made_with_a_secret_that_works_and_is_shown_once(cli: Cli, services: Services) -> None:
    made = answered(cli, "client", "create", "Notes", "--redirect-uri", REDIRECT, "--scope", "openid", "--first-party")

    client = services.clients.authenticate(made["id"], made["secret"])
    assert client
    assert (client.name, client.redirect_uris, client.first_party) == ("Notes", (REDIRECT,), True)
    listed = answered(cli, "client", "list")["clients"]
    assert [each["id"] for each in listed] == [made["id"]]
    assert made["secret"] not in json.dumps(listed)


def test_a_public_client_is_made_without_a_secret(cli: Cli, services: Services) -> None:
    made = answered(cli, "client", "create", "Phone", "--redirect-uri", "org.example.app:/cb", "--public")

    assert "secret" not in made
    assert services.clients.get(made["id"]).public


def test_people_are_shown_id_and_secret(cli: Cli, services: Services) -> None:
    result = cli("client", "create", "Worker", "--service", "--scope", "revocations")

    (client,) = services.clients.all()
    shown = dict(line.split(maxsplit=1) for line in result.stdout.splitlines()[:2])
    assert shown["id"] == client.id
    assert services.clients.authenticate(client.id, shown["secret"])
    assert client.id in cli("client", "list").stdout


def test_a_secret_is_replaced_and_a_client_deleted(cli: Cli, services: Services) -> None:
    made = answered(cli, "client", "create", "Notes", "--redirect-uri", REDIRECT)

    new = answered(cli, "client", "rotate-secret", made["id"])["secret"]
    assert services.clients.authenticate(made["id"], new)
    assert services.clients.authenticate(made["id"], made["secret"]) is None

    assert cli("client", "delete", made["id"]).exit_code == 0
    assert services.clients.all() == []


def test_what_cannot_be_is_refused_with_a_sentence(cli: Cli) -> None:
    for arguments in (
        ("client", "create", "Notes"),
        ("client", "create", "Notes", "--redirect-uri", "http://app.example.org/"),
        ("client", "create", "Notes", "--redirect-uri", REDIRECT, "--scope", "unheard-of"),
        ("client", "rotate-secret", "-nobody"),
        ("client", "delete", "-nobody"),
        ("key", "revoke", "-nothing"),
    ):
        result = cli(*arguments)
        assert (result.exit_code, result.stdout) == (1, ""), arguments
        assert result.stderr.strip().endswith(".")


def test_a_key_is_rotated_listed_and_revoked(cli: Cli, services: Services) -> None:
    assert "no key yet" in cli("key", "list").stdout
    first = services.keys.signing().kid

    second = answered(cli, "key", "rotate")["kid"]
    listed = {each["kid"]: each for each in answered(cli, "key", "list")["keys"]}
    assert listed.keys() == {first, second}
    assert listed[first]["published_until"] > listed[second]["signs"]
    assert second in cli("key", "list").stdout

    revoked = answered(cli, "key", "revoke", first)
    assert revoked["signing"] not in (first, second)
    assert {each["kid"]: each for each in answered(cli, "key", "list")["keys"]}[first]["revoked"]
