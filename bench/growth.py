"""S7: what many sessions cost: a check, a session in Redis, the end of one user's among them, the clean-up; and how
often a session in use is looked up in SQL."""

import multiprocessing
import os
import secrets
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress

from sqlalchemy import insert, text, update

from authsvc.core import store
from authsvc.core.crypto import Token, b64url, write_token
from authsvc.core.session import Copy, Session, encode
from authsvc.core.settings import Settings
from authsvc.core.store import Ask, Found, Operation
from authsvc.models import Session as Row
from authsvc.models import User, table
from authsvc.services import Services, build
from bench import load
from bench.stack import Stack, stack

SIZES = (1_000, 100_000, 1_000_000)
OF_A_USER, CHECKED, BATCH = 10, 200, 10_000
ROUNDS, SECONDS, CONNECTIONS = 5, 2.0, 8
CLEANING = 20  # seconds of it that checks are watched beside
YEAR = 365 * 86400


def rows() -> Iterator[tuple[str, str]]:
    first = 0.0
    for size in SIZES:
        with stack() as built:
            os.environ.update({name: value for name, value in built.environment.items() if name.startswith("AUTHSVC_")})
            services = build(Settings.read())
            checked, bytes_each = _fill(services, size)
            with built.process("web", ready="/healthz") as (port, _):
                requests = [load.request("GET", "/api/session", headers=_cookie(services, each)) for each in checked]
                middle, tail = _latency(port, requests)
                first = first or middle
                yield f"S7 check with {size:,} sessions, median and p99", f"{_ms(middle)}, {_ms(tail)}"
                yield f"S7 bytes of Redis for a session, of {size:,} (goal 600)", f"{bytes_each:.0f}"
                yield f"S7 end all {OF_A_USER} of a user, of {size:,}", _ms(_end_all(services))
                if size == SIZES[-1]:
                    yield "S7 check, a million against a thousand (goal 1.1)", f"{middle / first:.2f}"
                    yield from _clean_up(built, services, port, requests, tail)
            services.close()
    for seconds in (5, 10, 30):
        yield f"S7 SQL statements of an hour of use, one check a second, L = {seconds} s", str(_statements(seconds))


def _fill(services: Services, size: int) -> tuple[list[Token], float]:
    """Users with ten sessions each, in SQL and as copies in Redis; some tokens, and the bytes that a copy takes."""
    now, checked = int(time.time()), []
    before = _memory(services)
    for start in range(0, size, BATCH):
        users, sessions, copies = [], [], []
        for number in range(start, min(start + BATCH, size)):
            user = f"user-{number // OF_A_USER:018}"
            email = f"person{number // OF_A_USER}@example.org"
            token = Token(b64url(secrets.token_bytes(16)), secrets.token_bytes(32))
            if len(checked) < CHECKED:
                checked.append(token)
            if number % OF_A_USER == 0:
                users.append(_user(user, email, now))
            sessions.append(_row(token, user, now))
            session = Session(
                token.sid, token.hash, user, email, "A Person", ("member",), now, now, now, ("pwd",), 28800, 2592000,
                "Firefox on Linux", {}, 0,
            )  # fmt: skip
            copy = encode(Copy(session, bytes(8), now * 1000))
            copies.append(("SET", store.key_of(token.sid), copy, "PX", 3_600_000))
        with services.db.transaction() as sql:
            sql.execute(insert(table(User)), users)
            sql.execute(insert(table(Row)), sessions)
        for at in range(0, len(copies), 500):
            services.store.redis.execute(*copies[at : at + 500])
    return checked, (_memory(services) - before) / size


def _user(user: str, email: str, now: int) -> dict[str, object]:
    return {
        "id": user, "email": email, "email_key": email, "name": "A Person", "roles": ["member"], "password": "none",
        "created_at": now, "epoch": 0, "logged_in_at": now,
    }  # fmt: skip


def _row(token: Token, user: str, now: int) -> dict[str, object]:
    return {
        "sid": token.sid, "hash": token.hash, "data": {}, "user_id": user, "created_at": now, "seen_at": now,
        "authenticated_at": now, "amr": ["pwd"], "remember": False, "ip": "192.0.2.1", "device": "Firefox on Linux",
    }  # fmt: skip


def _memory(services: Services) -> int:
    lines = services.store.redis.execute(("INFO", "memory")).values[0].split(b"\r\n")
    return next(int(line.split(b":")[1]) for line in lines if line.startswith(b"used_memory:"))


def _cookie(services: Services, token: Token) -> dict[str, str]:
    return {"Cookie": f"session={write_token(services.keyring, token)}"}


def _latency(port: int, requests: list[bytes]) -> tuple[float, float]:
    """Median and p99 of a check in seconds, each the median of the rounds."""
    load.run(port, requests, connections=CONNECTIONS, seconds=1)  # the copies are checked once
    results = [load.run(port, requests, connections=CONNECTIONS, seconds=SECONDS) for _ in range(ROUNDS)]
    if any(set(result.statuses) != {200} for result in results):
        raise RuntimeError(str([result.statuses for result in results]))
    return tuple(statistics.median(result.quantile(share) for result in results) for share in (0.5, 0.99))  # type: ignore[return-value]


def _end_all(services: Services) -> float:
    """Seconds; the median of twenty users, of whom none is among those that are checked."""
    took = []
    for number in range(CHECKED // OF_A_USER + 1, CHECKED // OF_A_USER + 21):
        start = time.perf_counter()
        ending = services.sessions.end_all(f"user-{number:018}")
        took.append(time.perf_counter() - start)
        if ending.count != OF_A_USER:
            raise RuntimeError(str(ending))
    return statistics.median(took)


def _clean_up(
    built: Stack, services: Services, port: int, requests: list[bytes], before: float
) -> Iterator[tuple[str, str]]:
    """All but those that are checked ended long ago; a process removes them while checks go on."""
    with services.db.transaction() as sql:
        watched = f"user-{CHECKED // OF_A_USER:018}"
        sql.execute(update(Row).where(Row.user_id >= watched).values(ended_at=int(time.time()) - YEAR))
    cleaning = multiprocessing.get_context("spawn").Process(target=_remove, args=(built.environment,))
    left = _count(services)
    cleaning.start()
    time.sleep(2)
    result = load.run(port, requests, connections=CONNECTIONS, seconds=CLEANING)
    removed = left - _count(services)
    cleaning.join()
    yield f"S7 rows removed beside them in {CLEANING} s, of a million", f"{removed:,}"
    yield (
        "S7 check p99 meanwhile, against before (goal 2)",
        f"{_ms(result.quantile(0.99))}, {result.quantile(0.99) / before:.2f}",
    )


def _remove(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    services = build(Settings.read())
    services.upkeep.clean_up(time.time() + CLEANING + 4)
    services.close()


def _count(services: Services) -> int:
    with services.db.reading() as sql:
        return sql.scalar(text("SELECT count(*) FROM sessions")) or 0


class _Used:
    """A session that is checked once a second for an hour, on the protocol itself: a clock and a Redis of its own."""

    def __init__(self) -> None:
        self.now, self.asked, self._value = 1_800_000_000.0, 0, b""
        token = Token("sid", bytes(32))
        start = int(self.now)
        self._session = Session(
            "sid", token.hash, "", "", "", (), start, start, start, (), 28800, 2592000, "", {}, 0
        )  # fmt: skip
        for _ in range(3600):
            self._run(store.load(token, self._select, lambda: self.now, self._touch))
            self.now += 1

    def _select(self) -> Found:
        self.asked += 1
        return Found(self._session)

    def _touch(self) -> Found:
        self._session = self._session._replace(seen=int(self.now))
        return self._select()

    def _run(self, operation: Operation[Session | None]) -> None:
        answer = None
        with suppress(StopIteration):
            while True:
                step = operation.send(answer)
                answer = self._redis(step) if isinstance(step, Ask) else step.run()

    def _redis(self, step: Ask) -> store.Reply:
        command = step.commands[0]
        if command[0] != "GET":
            self._value = command[2] if command[0] == "SET" else command[5]
        return store.Reply([(self._value or None) if command[0] == "GET" else 1], bytes(8))


def _statements(seconds: int) -> int:
    believed, store.L = store.L, seconds * 1000
    try:
        return _Used().asked
    finally:
        store.L = believed


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
