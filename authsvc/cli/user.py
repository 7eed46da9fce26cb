"""`authsvc user`: who may log in."""

import sys
from typing import TYPE_CHECKING, Any

import click

from authsvc.cli.answer import Answer, answers, ended, opened, table, when
from authsvc.core.errors import BadRequest
from authsvc.core.settings import Settings

if TYPE_CHECKING:
    from authsvc.domain.accounts import Account


@click.group()
def user() -> None:
    """Who may log in."""


@user.command()
@click.argument("email")
@click.option("--name", default="", help="The person's name.")
@click.option("roles", "--role", multiple=True, help="A role; may be given several times.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of stdin.")
@answers
def create(email: str, name: str, roles: tuple[str, ...], password_stdin: bool) -> Answer:
    """Create an account, and print its id. Makes secrets and database if this is the first thing you do."""
    password = _read_password() if password_stdin else _ask_password()
    with opened(_installed()) as services:
        from authsvc.login.password import check_policy  # noqa: PLC0415

        check_policy(services.settings, password, email=email, name=name)
        account = services.accounts.create(email, services.hasher.hash(password), name=name, roles=roles)
    return Answer(_data(account), account.id)


@user.command("list")
@answers
def list_() -> Answer:
    """List all accounts."""
    with opened() as services:
        accounts = services.accounts.all()
    rows = [(each.email, each.name, ",".join(each.roles), "disabled" if each.disabled else "") for each in accounts]
    text = table(("EMAIL", "NAME", "ROLES", ""), rows) if rows else "There is no account yet."
    return Answer({"users": [_data(each) for each in accounts]}, text)


@user.command()
@click.argument("email")
@answers
def show(email: str) -> Answer:
    """Show one account."""
    with opened() as services:
        return _shown(services.accounts.get(email))


@user.command()
@click.argument("email")
@answers
def disable(email: str) -> Answer:
    """Let an account in no more, and end all its sessions."""
    with opened() as services:
        return ended(services.accounts.disable(email))


@user.command()
@click.argument("email")
@answers
def enable(email: str) -> Answer:
    """Let a disabled account in again."""
    with opened() as services:
        services.accounts.enable(email)
        return _shown(services.accounts.get(email))


@user.command("roles")
@click.argument("email")
@click.argument("roles", nargs=-1)
@click.option("--none", is_flag=True, help="Take all roles away.")
@answers
def roles_(email: str, roles: tuple[str, ...], none: bool) -> Answer:
    """Set exactly these roles; without any, print those that the account has."""
    if none and roles:
        raise click.UsageError("Give roles or --none, not both.")
    with opened() as services:
        account = services.accounts.set_roles(email, roles) if roles or none else services.accounts.get(email)
    return Answer({"roles": list(account.roles)}, "\n".join(account.roles) or "no roles")


def _installed() -> Settings:
    """Where the installation keeps its own storage, that is made as `authsvc run` would make it."""
    from authsvc import installation, migrations  # noqa: PLC0415
    from authsvc.db import Database  # noqa: PLC0415

    settings = Settings.read()
    installation.prepare(settings)
    settings = Settings.read().for_storage()
    if not settings.database_url:
        db = Database(settings.sql_url)
        migrations.upgrade(db)
        db.close()
    return settings


def _read_password() -> str:
    try:
        return sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadRequest("The password must be UTF-8.") from None


def _ask_password() -> str:
    if not sys.stdin.isatty():
        raise click.UsageError("Give the password on stdin with --password-stdin.")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def _shown(account: "Account") -> Answer:
    data = _data(account)
    lines = [f"{key:<9} {', '.join(value) if isinstance(value, list) else value or '-'}" for key, value in data.items()]
    return Answer(data, "\n".join(lines))


def _data(account: "Account") -> dict[str, Any]:
    return {
        "id": account.id,
        "email": account.email,
        "name": account.name,
        "roles": list(account.roles),
        "created": when(account.created),
        "disabled": when(account.disabled),
    }
