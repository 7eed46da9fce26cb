"""`authsvc session`: who is logged in, and where."""

import click

from authsvc.cli.answer import Answer, answers, ended, opened, table, when


@click.group()
def session() -> None:
    """Who is logged in, and where."""


@session.command("list")
@click.option("email", "--user", required=True, metavar="EMAIL", help="Whose sessions.")
@answers
def list_(email: str) -> Answer:
    """List the live sessions of an account, last used first."""
    with opened() as services:
        listed = services.sessions.of_user(services.accounts.get(email).id)
    data = [
        {"sid": each.sid, "created": when(each.created), "seen": when(each.seen), "ip": each.ip, "device": each.device}
        for each in listed
    ]
    rows = [[str(value) for value in each.values()] for each in data]
    text = table(("SID", "CREATED", "SEEN", "IP", "DEVICE"), rows) if rows else "No live session."
    return Answer({"sessions": data}, text)


@session.command(context_settings={"ignore_unknown_options": True})  # a sid may begin with a dash
@click.argument("sid")
@answers
def end(sid: str) -> Answer:
    """End one session: its cookie, its sockets and its streams."""
    with opened() as services:
        return ended(services.sessions.end(sid))


@session.command("end-all")
@click.option("email", "--user", required=True, metavar="EMAIL", help="Whose sessions.")
@answers
def end_all(email: str) -> Answer:
    """End every session of an account, logins that are under way included."""
    with opened() as services:
        return ended(services.sessions.end_all(services.accounts.get(email).id))
