"""`authsvc key`: the keys that sign tokens."""

from typing import TYPE_CHECKING, Any

import click

from authsvc.cli.answer import Answer, answers, opened, table, when

if TYPE_CHECKING:
    from authsvc.domain.keys import Key


@click.group()
def key() -> None:
    """The keys that sign tokens. They rotate by themselves."""


@key.command("list")
@answers
def list_() -> Answer:
    """List the keys, newest first."""
    with opened() as services:
        keys = [_data(each) for each in services.keys.listed()]
    rows = [[str(value or "-") for value in each.values()] for each in keys]
    head = ("KID", "ALG", "CREATED", "SIGNS", "PUBLISHED UNTIL", "REVOKED")
    return Answer({"keys": keys}, table(head, rows) if rows else "There is no key yet: the first token makes one.")


@key.command()
@answers
def rotate() -> Answer:
    """Publish the next key now; it signs once everybody can have it."""
    with opened() as services:
        made = services.keys.rotate()
    return Answer(_data(made), f"{made.kid} signs from {when(made.signs)} on.")


@key.command(context_settings={"ignore_unknown_options": True})  # a kid may begin with a dash
@click.argument("kid")
@answers
def revoke(kid: str) -> Answer:
    """An emergency: refuse what this key has signed, at once; another one signs."""
    with opened() as services:
        services.keys.revoke(kid)
        signing = services.keys.signing().kid
    return Answer({"revoked": kid, "signing": signing}, f"Revoked. {signing} signs now.")


def _data(each: "Key") -> dict[str, Any]:
    return {
        "kid": each.kid,
        "alg": each.alg,
        "created": when(each.created),
        "signs": when(each.signs),
        "published_until": when(each.published_until),
        "revoked": when(each.revoked),
    }
