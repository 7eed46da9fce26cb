"""Tokens: one that was planted is never adopted, a stranger's costs nothing, and none lies anywhere in the clear."""

import base64
import dataclasses
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import MetaData, make_url, select

from authsvc.core.crypto import TOKEN_CHARS, Keyring, Token, new_token, read_token, write_token
from authsvc.core.errors import InvalidCredentials
from authsvc.domain.sessions import Origin
from authsvc.login.flow import Caller
from authsvc.services import Services
from authsvc.web.app import create_app
from tests.conftest import PASSWORD
from tests.contract.conftest import Reader
from tests.contract.schedule import ORIGIN, Process
from tests.servers import Valkey

# -- fixation --------------------------------------------------------------------------------------------------------


@pytest.mark.promise("B2")
def test_a_planted_token_is_never_adopted_by_a_login(web: Process, reader: Reader, user: str) -> None:
    planted = new_token()

    token = web.log_in(user, replacing=planted)

    assert (token.sid == planted.sid, token.secret == planted.secret) == (False, False)
    assert reader.load(planted) is None
    assert reader.load(token)


@pytest.mark.promise("B2")
def test_an_attackers_own_session_that_was_planted_ends_at_the_victims_login(
    web: Process, reader: Reader, user: str
) -> None:
    planted = web.log_in(web.new_user("eve@example.org"))
    assert reader.load(planted)

    token = web.log_in(user, replacing=planted)

    assert reader.load(planted) is None
    session = reader.load(token)
    assert session
    assert session.user == user


@pytest.mark.promise("B2")
def test_every_login_and_every_rotation_makes_another_token(web: Process, user: str) -> None:
    tokens = [web.log_in(user) for _ in range(3)]
    for _ in range(3):
        session = web.load(tokens[-1])
        assert session
        newer = web.sessions.rotate(session, ("pwd",))
        assert newer
        tokens.append(newer)

    assert len({token.secret for token in tokens}) == 6
    assert [bool(web.load(token)) for token in tokens] == [True, True, False, False, False, True]


@pytest.mark.promise("B2")
def test_a_forged_sid_with_another_sessions_secret_is_refused(web: Process, reader: Reader, user: str) -> None:
    mine, yours = web.log_in(user), web.log_in(web.new_user("eve@example.org"))

    assert reader.load(Token(yours.sid, mine.secret)) is None


# -- strangers -------------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(services: Services, start: Callable[..., Process]) -> tuple[Services, Process]:
    """The service on doors that write down all that is asked of Redis and SQL."""
    process = start()
    parts = {"db": process.db, "store": process.store, "outbox": process.outbox, "sessions": process.sessions}
    return dataclasses.replace(services, accounts=process.accounts, **parts), process


@pytest.mark.promise("L2")
@pytest.mark.promise("B2")
def test_a_stranger_touches_neither_redis_nor_sql(counted: tuple[Services, Process], token: Token) -> None:
    services, process = counted
    good = write_token(services.keyring, token)
    flipped = good[:40] + ("A" if good[40] != "A" else "B") + good[41:]
    foreign = write_token(Keyring((secrets.token_bytes(32),)), token)
    forged = ["", "x", "A" * TOKEN_CHARS, good[:-1], good + "A", flipped, foreign, good[::-1], "ä" * TOKEN_CHARS, "\0"]
    app = create_app(services)

    for value in [None, *forged]:
        client = app.test_client(use_cookies=False)
        headers = {} if value is None else {"Cookie": f"{services.settings.cookie_name}={quote(value)}"}
        assert client.get("/api/session", headers=headers).status_code == 401
        assert value is None or read_token(services.keyring, value) is None

    assert process.asked == []
    headers = {"Cookie": f"{services.settings.cookie_name}={good}"}
    assert app.test_client(use_cookies=False).get("/api/session", headers=headers).status_code == 200
    assert process.asked[0] == "GET"


# -- at rest -----------------------------------------------------------------------------------------------------------


def spellings(secret: bytes) -> set[bytes]:
    """How a secret may be written down."""
    shifts = (base64.b64encode(b"\0" * shift + secret)[4:-4] for shift in range(3))
    plain = {secret, secret.hex().encode(), secret.hex().upper().encode(), repr(secret)[2:-1].encode()}
    return plain | {each for shift in shifts for each in (shift, shift.translate(bytes.maketrans(b"+/", b"-_")))}


def redis_dump(server: Valkey, folder: Path) -> bytes:
    with server.client() as client:
        client.config_set("rdbcompression", "no")
        client.save()
    return (folder / "dump.rdb").read_bytes()


def sql_dump(services: Services) -> bytes:
    tables = MetaData()
    with services.db.engine.connect() as sql:
        tables.reflect(sql)
        rows = [tuple(row) for table in tables.sorted_tables for row in sql.execute(select(table))]
    raw = b"".join(
        b"%b\n" % (value if isinstance(value, bytes) else repr(value).encode()) for row in rows for value in row
    )
    url = make_url(services.settings.sql_url)
    if url.get_backend_name() == "sqlite":
        raw += b"".join(path.read_bytes() for path in Path(url.database or "").parent.glob("*.sqlite3*"))
    return raw


@pytest.mark.promise("B7")
def test_a_dump_of_redis_or_sql_holds_nothing_that_logs_in(services: Services, valkey: Valkey, tmp_path: Path) -> None:
    services.accounts.create("anna@example.org", services.hasher.hash(PASSWORD), name="Anna")
    caller = Caller(Origin("192.0.2.1", ORIGIN.device))

    def log_in(password: str = PASSWORD, previous: Token | None = None, email: str = "anna@example.org") -> Token:
        who = dataclasses.replace(caller, previous=previous)
        return services.login.with_password(email, password, remember=False, caller=who)[1]

    first = log_in()
    with pytest.raises(InvalidCredentials):
        log_in("my other password 1")
    with pytest.raises(InvalidCredentials):
        log_in("x", email="typed-into-the-wrong-field 1")
    second = log_in(previous=first)
    session = services.sessions.load(second)
    assert session
    services.sessions.save(session, {"theme": "dark"})
    third = services.sessions.rotate(session, ("pwd",))
    assert third
    assert services.sessions.load(third)

    dumps = {"redis": redis_dump(valkey, tmp_path), "sql": sql_dump(services)}

    for name, dump in dumps.items():
        assert third.hash in dump, name  # the search finds what is there
        assert third.sid.encode() in dump, name
        for token in (first, second, third):
            cookie = write_token(services.keyring, token).encode()
            assert not [each for each in {cookie, *spellings(token.secret)} if each in dump], name
        for text in (PASSWORD, "my other password 1", "typed-into-the-wrong-field"):
            assert not [each for each in {text.encode(), *spellings(text.encode())} if each in dump], name
        for key in services.settings.keys:
            assert key not in dump, name
