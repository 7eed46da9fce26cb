"""The command line has the same effect as the same act over HTTP, at once, and says in its exit code how it went."""

import json
import secrets
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from authsvc.cli import main
from authsvc.core.crypto import Token
from authsvc.core.settings import SECRET_FILE
from authsvc.domain import jobs
from authsvc.domain.sessions import Origin
from authsvc.services import Services
from tests.cli.conftest import Cli, invoke
from tests.conftest import PASSWORD
from tests.servers import Valkey

EMAIL = "ada@example.org"


def create(cli: Cli, email: str = EMAIL, *options: str) -> dict[str, Any]:
    result = cli("user", "create", email, "--password-stdin", "--json", *options, stdin=PASSWORD + "\n")
    assert result.exit_code == 0, result.output
    account: dict[str, Any] = json.loads(result.stdout)
    return account


def log_in(services: Services, user_id: str) -> Token:
    _, token = services.sessions.create(
        user_id, _epoch(services), amr=("pwd",), remember=False, origin=Origin("192.0.2.1", "Firefox on Linux")
    )
    assert services.sessions.load(token)
    return token


def _epoch(services: Services) -> int:
    credentials = services.accounts.known(EMAIL).account
    assert credentials
    return credentials.epoch


# -- user ----------------------------------------------------------------------------------------------------------


def test_create_prints_the_id_of_an_account_that_can_log_in(cli: Cli, services: Services) -> None:
    result = cli("user", "create", EMAIL, "--name", "Ada", "--role", "admin", "--password-stdin", stdin=PASSWORD + "\n")

    account = services.accounts.get(EMAIL)
    credentials = services.accounts.known(EMAIL).account
    assert result.exit_code == 0
    assert result.stdout == account.id + "\n"
    assert (account.name, account.roles) == ("Ada", ("admin",))
    assert credentials
    assert services.hasher.verify(credentials.password, PASSWORD)


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_only_the_line_end_is_no_part_of_the_password(end: str, cli: Cli, services: Services) -> None:
    password = "  blanks count, umlauts too: ä "

    cli("user", "create", EMAIL, "--password-stdin", stdin=(password + end).encode())

    credentials = services.accounts.known(EMAIL).account
    assert credentials
    assert services.hasher.verify(credentials.password, password)


@pytest.mark.parametrize(
    ("email", "password"),
    [("not an address", PASSWORD), (EMAIL, "short"), (EMAIL, ""), (EMAIL, "x" * 257), ("ada.lovelace@x.org",) * 2],
)
def test_create_refuses_what_a_form_would_refuse(email: str, password: str, cli: Cli, services: Services) -> None:
    result = cli("user", "create", email, "--password-stdin", stdin=password + "\n")

    assert result.exit_code == 1
    assert result.stderr.strip().endswith(".")
    assert services.accounts.nobody()


def test_an_email_is_taken_once(cli: Cli) -> None:
    create(cli)

    result = cli("user", "create", EMAIL.upper(), "--password-stdin", stdin=PASSWORD)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "exists already" in result.stderr


def test_a_password_that_is_not_utf8_is_refused(cli: Cli) -> None:
    result = cli("user", "create", EMAIL, "--password-stdin", stdin=b"\xff" * 20)

    assert (result.exit_code, result.stderr) == (1, "The password must be UTF-8.\n")


def test_without_a_terminal_the_password_must_come_from_stdin(cli: Cli) -> None:
    result = cli("user", "create", EMAIL)

    assert result.exit_code == 2
    assert "--password-stdin" in result.stderr


def test_the_first_create_makes_folder_secret_and_database(tmp_path: Path) -> None:
    instance = tmp_path / "new" / "instance"

    def at_home(*arguments: str) -> Result:
        return invoke({"AUTHSVC_INSTANCE": str(instance)}, *arguments, stdin=PASSWORD)

    first = at_home("user", "create", EMAIL, "--password-stdin")
    secret = (instance / SECRET_FILE).read_text()
    second = at_home("user", "create", "bob@example.org", "--password-stdin")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert [user["email"] for user in json.loads(at_home("user", "list", "--json").stdout)["users"]] == [
        EMAIL,
        "bob@example.org",
    ]
    assert (instance / SECRET_FILE).read_text() == secret
    assert _mode(instance) == 0o700
    assert {path.name: _mode(path) for path in instance.iterdir()} == {SECRET_FILE: 0o600, "authsvc.sqlite3": 0o600}


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_list_and_show_tell_about_accounts_and_never_about_passwords(cli: Cli) -> None:
    account = create(cli, EMAIL, "--name", "Ada", "--role", "b", "--role", "a")

    listed, shown = cli("user", "list"), cli("user", "show", EMAIL)

    assert json.loads(cli("user", "list", "--json").stdout) == {"users": [account]}
    assert json.loads(cli("user", "show", EMAIL, "--json").stdout) == account
    assert account["roles"] == ["a", "b"]
    for result in (listed, shown):
        assert EMAIL in result.stdout
        assert "argon2" not in result.stdout


@pytest.mark.promise("R7")
def test_disable_ends_every_session_at_once_and_enable_lets_in_again(cli: Cli, services: Services) -> None:
    account = create(cli)
    tokens = [log_in(services, account["id"]) for _ in range(3)]

    result = cli("user", "disable", EMAIL, "--json")

    assert (result.exit_code, json.loads(result.stdout)) == (0, {"ended": 3, "final_by": None})
    assert [services.sessions.load(token) for token in tokens] == [None] * 3
    assert services.accounts.get(EMAIL).disabled
    assert json.loads(cli("user", "enable", EMAIL, "--json").stdout)["disabled"] is None
    assert log_in(services, account["id"])


def test_roles_are_set_exactly_and_reach_live_sessions(cli: Cli, services: Services) -> None:
    account = create(cli, EMAIL, "--role", "old")
    token = log_in(services, account["id"])

    result = cli("user", "roles", EMAIL, "editor", "admin")

    session = services.sessions.load(token)
    assert (result.exit_code, result.stdout) == (0, "admin\neditor\n")
    assert session
    assert session.roles == ("admin", "editor")
    assert json.loads(cli("user", "roles", EMAIL, "--json").stdout) == {"roles": ["admin", "editor"]}


def test_all_roles_can_be_taken_away(cli: Cli, services: Services) -> None:
    create(cli, EMAIL, "--role", "old")

    assert cli("user", "roles", EMAIL, "--none").exit_code == 0
    assert services.accounts.get(EMAIL).roles == ()
    assert cli("user", "roles", EMAIL, "admin", "--none").exit_code == 2


# -- session -------------------------------------------------------------------------------------------------------


@pytest.mark.promise("R1")
def test_end_ends_one_session_and_lets_the_others_live(cli: Cli, services: Services) -> None:
    account = create(cli)
    ended, other = log_in(services, account["id"]), log_in(services, account["id"])

    result = cli("session", "end", ended.sid)

    assert (result.exit_code, result.stdout) == (0, "Sessions ended: 1.\n")
    assert services.sessions.load(ended) is None
    assert services.sessions.load(other)


@pytest.mark.promise("R7")
def test_end_all_ends_exactly_the_sessions_that_list_shows(cli: Cli, services: Services) -> None:
    account = create(cli)
    tokens = [log_in(services, account["id"]) for _ in range(2)]
    listed = json.loads(cli("session", "list", "--user", EMAIL, "--json").stdout)["sessions"]

    result = cli("session", "end-all", "--user", EMAIL, "--json")

    assert {each["sid"] for each in listed} == {token.sid for token in tokens}
    assert (listed[0]["ip"], listed[0]["device"]) == ("192.0.2.1", "Firefox on Linux")
    assert json.loads(result.stdout)["ended"] == 2
    assert cli("session", "list", "--user", EMAIL).stdout == "No live session.\n"


def test_an_end_without_redis_is_done_and_says_when_it_is_final(cli: Cli, services: Services, valkey: Valkey) -> None:
    account = create(cli)
    token = log_in(services, account["id"])
    valkey.kill()

    result = cli("session", "end", token.sid)

    assert result.exit_code == 0
    assert "ended everywhere by 20" in result.stdout
    assert services.sessions.load(token) is None


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("user", "show", EMAIL),
        ("user", "disable", EMAIL),
        ("user", "enable", EMAIL),
        ("user", "roles", EMAIL, "admin"),
        ("session", "list", "--user", EMAIL),
        ("session", "end", "nosuchsession"),
        ("session", "end-all", "--user", EMAIL),
    ],
)
def test_what_is_not_there_is_refused_with_a_sentence(arguments: tuple[str, ...], cli: Cli) -> None:
    people, programs = cli(*arguments), cli(*arguments, "--json")

    assert (people.exit_code, people.stdout) == (1, "")
    assert people.stderr.strip().endswith(".")
    assert programs.exit_code == 1
    assert json.loads(programs.stdout) == {"code": "not_found", "detail": people.stderr.strip()}


@pytest.mark.parametrize("sid", ["-3Zb", "--Zb", "-hZb", "-_"])
def test_a_sid_may_begin_with_a_dash(sid: str, cli: Cli) -> None:
    assert cli("session", "end", sid).stderr == "There is no such session.\n"


def test_a_refused_field_is_named_for_programs(cli: Cli) -> None:
    result = cli("user", "create", EMAIL, "--password-stdin", "--json", stdin="short\n")

    assert result.exit_code == 1
    assert [(each["field"], each["code"]) for each in json.loads(result.stdout)["errors"]] == [("password", "length")]


@pytest.mark.parametrize("arguments", [("user", "create"), ("session", "end-all"), ("fly",), ("user", "list", "x")])
def test_misuse_is_exit_code_2(arguments: tuple[str, ...], cli: Cli) -> None:
    assert cli(*arguments).exit_code == 2


def test_every_command_answers_with_json_and_has_help() -> None:
    for group in (main, main.commands["user"], main.commands["session"]):
        for command in group.commands.values():
            assert command.help
            assert hasattr(command, "commands") or "as_json" in {parameter.name for parameter in command.params}


@pytest.mark.promise("B10")
@pytest.mark.parametrize("part", ["web", "bridge", "worker"])
@pytest.mark.parametrize("secret", [None, "", "change-me", "secret" * 8])
def test_no_part_starts_without_a_strong_secret(part: str, secret: str | None, tmp_path: Path) -> None:
    environment = {"AUTHSVC_INSTANCE": str(tmp_path), "AUTHSVC_PUBLIC_URL": "https://login.test"}

    result = invoke(environment | ({"AUTHSVC_SECRET_KEYS": secret} if secret is not None else {}), part)

    assert result.exit_code == 1
    assert "secrets.token_urlsafe" in result.stderr


@pytest.mark.parametrize("part", ["web", "bridge"])
def test_no_part_that_faces_the_network_starts_without_its_address(part: str, tmp_path: Path) -> None:
    result = invoke({"AUTHSVC_INSTANCE": str(tmp_path), "AUTHSVC_SECRET_KEYS": secrets.token_urlsafe(32)}, part)

    assert result.exit_code == 1
    assert "AUTHSVC_PUBLIC_URL" in result.stderr


# -- doctor --------------------------------------------------------------------------------------------------------


def findings(result: Result) -> dict[str, Any]:
    return {each["part"]: each for each in json.loads(result.stdout)["parts"]}


def test_doctor_finds_every_part_well_but_those_that_do_not_run(cli: Cli) -> None:
    result = cli("doctor", "--json")

    parts = findings(result)
    assert result.exit_code == 1
    assert [part for part, each in parts.items() if not each["ok"]] == ["worker", "address"]
    assert "authsvc worker" in parts["worker"]["detail"]
    assert "AUTHSVC_PUBLIC_URL" in parts["address"]["detail"]


def test_doctor_says_what_is_wrong_with_redis(cli: Cli, valkey: Valkey) -> None:
    with valkey.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        replica = findings(cli("doctor", "--json"))["redis"]
    valkey.kill()
    away = findings(cli("doctor", "--json"))["redis"]

    assert not replica["ok"]
    assert "not a master" in replica["detail"]
    assert not away["ok"]
    assert "AUTHSVC_REDIS_URL" in away["detail"]


def test_doctor_says_what_is_wrong_with_the_database(tmp_path: Path) -> None:
    environment = {"AUTHSVC_INSTANCE": str(tmp_path), "AUTHSVC_SECRET_KEYS": secrets.token_urlsafe(32)}

    behind = findings(invoke(environment, "doctor", "--json"))["database"]
    away = invoke(environment | {"AUTHSVC_DATABASE_URL": "postgresql://x:hidden@127.0.0.1:1/x"}, "doctor", "--json")

    assert "authsvc migrate" in behind["detail"]
    assert "AUTHSVC_DATABASE_URL" in findings(away)["database"]["detail"]
    assert "hidden" not in away.output


def test_doctor_names_a_secret_that_others_can_read(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).write_text(secrets.token_urlsafe(32))
    (tmp_path / SECRET_FILE).chmod(0o644)

    result = invoke({"AUTHSVC_INSTANCE": str(tmp_path)}, "doctor")

    assert result.exit_code == 1
    assert f"chmod 600 {tmp_path / SECRET_FILE}" in result.stdout


def dead_letter(services: Services) -> str:
    with services.db.transaction() as sql:
        written = jobs.add(sql, jobs.MAIL, services.store.clock(), data={"to": EMAIL})
    services.jobs.bury(written, "550 there is no such mailbox")
    return written


@pytest.mark.promise("L5")
def test_a_dead_letter_is_listed_shown_sent_again_and_dropped(cli: Cli, services: Services) -> None:
    job = dead_letter(services)
    [listed] = json.loads(cli("job", "list", "--dead", "--json").stdout)["jobs"]
    assert (listed["id"], listed["state"], listed["error"]) == (job, "dead", "550 there is no such mailbox")
    assert EMAIL not in cli("job", "list").output
    assert json.loads(cli("job", "show", job, "--json").stdout)["data"] == {"to": EMAIL}
    assert "550 there is no such mailbox" in cli("job", "show", job).output
    assert cli("job", "retry", job).exit_code == 0
    assert services.jobs.claim() == [(job, jobs.MAIL)]
    assert cli("job", "drop", job).exit_code == 1  # it is not dead any more
    services.jobs.bury(job, "again")
    assert cli("job", "drop", job).exit_code == 0
    assert cli("job", "show", job).exit_code == 1
    assert "No job waits." in cli("job", "list").output
