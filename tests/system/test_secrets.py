"""Nothing that lies in Redis, in the database or in a log lets anyone in."""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterator
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import redis
from sqlalchemy import MetaData, create_engine, make_url, select

from authsvc.core.crypto import SECRET_BYTES, SID_BYTES
from tests.system import test_accounts as road
from tests.system.browser import Browser, frame
from tests.system.stack import Stack

BACK = "https://app.example/back"


def spellings(secret: bytes) -> Iterator[bytes]:
    """The ways in which bytes may have been written down."""
    yield secret
    yield secret.hex().encode()
    yield quote(secret).encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):  # inside a longer text its base64 depends on where it begins
            yield encode(bytes(shift) + secret)[4 * (shift > 0) : -4].rstrip(b"=")


def dump_of_redis(client: redis.Redis) -> bytes:
    read = {
        b"string": client.get,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"none": lambda _key: None,  # its time was over since it was found
    }
    found = []
    for key in client.scan_iter():
        value = read[client.type(key)](key)
        found += [key, value if isinstance(value, bytes) else _flat(value)]
    return b"\n".join(found)


def dump_of_database(url: str) -> bytes:
    engine = create_engine(
        make_url(url).set(drivername=url.partition(":")[0].replace("postgresql", "postgresql+psycopg"))
    )
    metadata = MetaData()
    metadata.reflect(engine)
    with engine.connect() as connection:
        rows = [tuple(row) for table in metadata.tables.values() for row in connection.execute(select(table))]
    engine.dispose()
    return _flat(rows)


def _flat(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set)):
        return b"\n".join(map(_flat, value))
    return str(value).encode()


@pytest.mark.promise("B7")
async def test_dumps_and_logs_hold_neither_token_nor_password(stack: Stack) -> None:
    password, wrong, misplaced = (f"canary {secrets.token_hex(16)}" for _ in range(3))
    email = stack.new_user(password=password)
    async with Browser(stack) as staying, Browser(stack) as leaving:
        sid = await staying.log_in(email, password)
        await leaving.log_in_by_form(email, password)
        await leaving.post("/api/login", json={"email": email, "password": wrong})
        await leaving.post("/login", data={"email": misplaced, "password": password})
        await leaving.post("/api/login", content=f'{{"email": "{email}", "password": "{wrong}"')
        await leaving.get("/account", params={"password": wrong, "token": staying.token})
        async with staying.socket() as socket, staying.events():
            await frame(socket, "hello")
            await socket.send(staying.token)
        await staying.get("/api/sessions")
        tokens = [staying.token, leaving.token]
        await leaving.post("/api/logout")
        await staying.get("/api/session")

    with stack.redis() as client:
        in_redis = dump_of_redis(client)
    in_database, in_logs = dump_of_database(stack.database_url), stack.logs().encode()

    assert sid.encode() in in_redis  # the search would find what is there
    assert sid.encode() in in_database
    assert email.encode() in in_database
    assert b"authsvc" in in_logs
    files = b"".join(
        path.read_bytes() for path in stack.folder.rglob("*") if path.is_file() and path.name != "secret_keys"
    )
    for secret in _secrets(tokens, password, wrong, misplaced):
        for spelling in spellings(secret):
            for name, haystack in {"redis": in_redis, "database": in_database, "logs": in_logs, "files": files}.items():
                assert spelling not in haystack, name


def _secrets(tokens: list[str], *passwords: str) -> Iterator[bytes]:
    for token in tokens:
        yield token.encode()
        yield base64.urlsafe_b64decode(token)[SID_BYTES : SID_BYTES + SECRET_BYTES]
    for password in passwords:
        yield password.encode()


@pytest.mark.promise("B7")
async def test_what_a_mail_opens_lies_nowhere_but_in_the_mail(stack: Stack) -> None:
    address, email = road.new_address(), stack.new_user()
    async with Browser(stack) as browser:
        await browser.post("/api/register", json={"email": address, "password": road.PASSWORD})
        await browser.post("/api/password/forgot", json={"email": email})
        opened = [road.link(stack, address, "/verify-email"), road.link(stack, email, "/password/reset")]
        for each in opened:
            assert (await browser.get(each)).status_code == 200
        codes = [
            code for to in (address, email) for code in re.findall(r"^ *(\d{6})$", stack.mails_to(to)[0], re.MULTILINE)
        ]
        await browser.post("/api/email/verify", json={"token": road.token(opened[0])})

    with stack.redis() as client:
        dumps = {"redis": dump_of_redis(client), "database": dump_of_database(stack.database_url)}
    dumps["logs"] = stack.logs().encode()
    assert len(codes) == 2
    for name, dump in dumps.items():
        for each in opened:
            assert road.token(each).encode() not in dump, name
        for code in codes:
            assert not re.search(rb"(?<![\d.])" + code.encode() + rb"(?!\d)", dump), name


@pytest.mark.promise("B7")
async def test_nothing_that_programs_show_lies_anywhere(stack: Stack) -> None:
    client = stack.told("client", "create", "Canary", "--redirect-uri", BACK, "--first-party")
    proof = {"client_id": client["id"], "client_secret": client["secret"]}
    async with Browser(stack) as browser, Browser(stack) as program:
        await browser.log_in(stack.new_user())
        key = (await browser.post("/api/keys", json={"name": "canary"})).json()["key"]
        own = (await browser.post("/api/token", json={"scope": "openid"})).json()["access_token"]
        code, verifier = await new_code(browser, client["id"])
        exchange = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": verifier}
        first = (await program.post("/oauth/token", data={**proof, **exchange})).json()
        again = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
        second = (await program.post("/oauth/token", data={**proof, **again})).json()
        shown = [key, own, *(tokens[name] for tokens in (first, second) for name in ("access_token", "refresh_token"))]
        for each in shown:
            await program.post("/oauth/introspect", data={**proof, "token": each})
            await program.get("/forward-auth", headers={"Authorization": f"Bearer {each}"})
            await program.get("/oauth/userinfo", headers={"Authorization": f"Bearer {each}"}, params={"token": each})
        await program.post("/oauth/token", data={**proof, **exchange})  # the code once more, which ends the grant
        await program.post("/oauth/revoke", data={**proof, "token": second["refresh_token"]})
        await browser.post("/api/logout")

    with stack.redis() as client_of_redis:
        dumps = {"redis": dump_of_redis(client_of_redis), "database": dump_of_database(stack.database_url)}
    dumps["logs"] = stack.logs().encode()
    assert client["id"].encode() in dumps["database"]  # the search would find what is there
    assert b"canary" in dumps["database"]
    secret = base64.urlsafe_b64decode(key.removeprefix("ask_"))[SID_BYTES : SID_BYTES + SECRET_BYTES]
    for each in (secret, *(text.encode() for text in (*shown, code, verifier, client["secret"]))):
        for spelling in spellings(each):
            for name, dump in dumps.items():
                assert spelling not in dump, name


async def new_code(browser: Browser, client_id: str) -> tuple[str, str]:
    """An authorization code, and the verifier that goes with it (RFC 7636)."""
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code", "client_id": client_id, "redirect_uri": BACK, "scope": "openid offline_access",
        "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    answer = await browser.get("/oauth/authorize", params=asked)
    return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0], verifier
