"""`authsvc client`: applications that get tokens here."""

from typing import TYPE_CHECKING, Any

import click

from authsvc.cli.answer import Answer, answers, opened, table, when

if TYPE_CHECKING:
    from authsvc.domain.clients import Client

SHOWN_ONCE = "The secret is shown this once."


@click.group()
def client() -> None:
    """Applications that get tokens here."""


@client.command()
@click.argument("name")
@click.option("redirect_uris", "--redirect-uri", multiple=True, metavar="URI", help="Where it takes codes; may repeat.")
@click.option("logout_uris", "--logout-uri", multiple=True, metavar="URI", help="Where it is gone to after a logout.")
@click.option("backchannel_uri", "--backchannel-uri", metavar="URI", help="Where it wants to be told of logouts.")
@click.option("wanted_scopes", "--scope", multiple=True, help="What it may ask for; may repeat.")
@click.option("audiences", "--audience", multiple=True, help="For whom its tokens may be; may repeat.")
@click.option("--public", is_flag=True, help="It cannot keep a secret: a page, a phone, a command.")
@click.option("--service", is_flag=True, help="It gets tokens for itself (client credentials).")
@click.option("--first-party", is_flag=True, help="It is yours: its users are not asked for consent.")
@answers
def create(name: str, **given: Any) -> Answer:
    """Register an application; prints its id, and the secret if it has one."""
    with opened() as services:
        made, secret = services.clients.create(name, **given)
    text = f"id      {made.id}" + (f"\nsecret  {secret}\n{SHOWN_ONCE}" if secret else "")
    return Answer(_data(made) | ({"secret": secret} if secret else {}), text)


@client.command("list")
@answers
def list_() -> Answer:
    """List all applications."""
    with opened() as services:
        clients = services.clients.all()
    rows = [(each.id, each.name, "public" if each.public else "secret", " ".join(each.scopes)) for each in clients]
    text = table(("ID", "NAME", "", "SCOPES"), rows) if rows else "There is no client yet."
    return Answer({"clients": [_data(each) for each in clients]}, text)


@client.command("rotate-secret", context_settings={"ignore_unknown_options": True})  # an id may begin with a dash
@click.argument("client_id", metavar="ID")
@answers
def rotate_secret(client_id: str) -> Answer:
    """Give it a new secret; the old one is dead within seconds."""
    with opened() as services:
        secret = services.clients.rotate_secret(client_id)
    return Answer({"id": client_id, "secret": secret}, f"secret  {secret}\n{SHOWN_ONCE}")


@client.command(context_settings={"ignore_unknown_options": True})
@click.argument("client_id", metavar="ID")
@answers
def delete(client_id: str) -> Answer:
    """Forget an application; what it was granted ends."""
    with opened() as services:
        services.grants.delete_client(client_id)
    return Answer({"id": client_id}, "Deleted.")


def _data(made: "Client") -> dict[str, Any]:
    return {
        "id": made.id,
        "name": made.name,
        "public": made.public,
        "grant_types": list(made.grant_types),
        "redirect_uris": list(made.redirect_uris),
        "logout_uris": list(made.logout_uris),
        "backchannel_uri": made.backchannel_uri,
        "scopes": list(made.scopes),
        "audiences": list(made.audiences),
        "first_party": made.first_party,
        "created": when(made.created),
    }
