"""A hundred at once, behind a barrier: an end that races logins and handshakes wins."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Redis

from authsvc.core import events
from authsvc.core.crypto import Token
from authsvc.core.errors import InvalidCredentials
from authsvc.core.redis import AsyncRedis
from authsvc.core.settings import Settings
from authsvc.core.store import AsyncStore, Found
from authsvc.db import AsyncDatabase
from authsvc.domain.sessions import find, found
from tests.contract.conftest import Reader
from tests.contract.schedule import Clock, Process

pytestmark = pytest.mark.promise("R4")
EMAIL = "anna@example.org"


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call returned, or the error that it raised, of calls that all begin at the same moment."""
    together, answers = threading.Barrier(len(calls)), [None] * len(calls)

    def run(number: int) -> None:
        together.wait()
        try:
            answers[number] = calls[number]()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            answers[number] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_end_all_ends_every_login_whose_password_was_checked_before(web: Process, user: str, reader: Reader) -> None:
    def log_in() -> tuple[int, Token | None]:
        credentials = web.accounts.known(EMAIL).account
        assert credentials
        with suppress(InvalidCredentials):
            return credentials.epoch, web.log_in(user, epoch=credentials.epoch)
        return credentials.epoch, None

    calls: list[Callable[[], Any]] = [log_in] * 99
    calls.insert(50, lambda: web.sessions.end_all(user))
    answers = at_once(calls)

    ending = answers.pop(50)
    before = [token for epoch, token in answers if epoch == 0 and token]
    after = [token for epoch, token in answers if epoch == 1 and token]
    assert ending.final_by is None
    assert len(before) == ending.count
    assert [token for token in before if reader.load(token)] == []
    assert all(reader.load(token) for token in after)
    assert {listed.sid for listed in web.sessions.of_user(user)} == {token.sid for token in after}


def test_a_logout_wins_against_everything_else_on_its_session(
    start: Callable[..., Process], web: Process, token: Token, reader: Reader
) -> None:
    other = start()
    session = web.load(token)
    assert session
    calls: list[Callable[[], Any]] = [
        lambda: other.load(token),
        lambda: other.sessions.save(session, {"a": 1}),
        lambda: web.sessions.rotate(session, ("pwd",)),
        lambda: web.load(token),
    ] * 24 + [lambda: web.sessions.logout(token)] * 4

    answers = at_once(calls)

    assert [ending.final_by for ending in answers[-4:]] == [None] * 4
    tokens = [token, *(answer for answer in answers if isinstance(answer, Token))]
    assert [each for each in tokens if reader.load(each)] == []


@pytest.mark.parametrize("ending", ["logout", "end_all"])
async def test_no_handshake_that_races_an_end_stays_open(
    settings: Settings, clock: Clock, web: Process, token: Token, user: str, ending: str
) -> None:
    """A handshake registers, then loads. Either the load refuses, or the fact of the end finds it registered."""
    db, redis = AsyncDatabase(settings.sql_url), AsyncRedis(settings.hot_url)
    store = AsyncStore(redis, clock)
    open_: set[int] = set()
    heard = asyncio.Event()

    async def load(sid: str) -> Found:
        async with db.reading() as sql:
            return found((await sql.execute(find(sid))).one_or_none(), settings)

    async def shake_hands(number: int, together: asyncio.Barrier) -> None:
        await together.wait()
        await asyncio.sleep(number / 20_000)
        open_.add(number)
        if await store.load(token, load) is None:
            open_.discard(number)

    async def close_what_ends(messages: Any) -> None:
        async for message in messages.listen():
            fact = events.parse(message["data"]) if message["type"] == "message" else None
            if fact and fact.name == events.SESSION_ENDED and fact.sid == token.sid:
                open_.clear()
                heard.set()

    async def end(together: asyncio.Barrier) -> None:
        await together.wait()
        await asyncio.sleep(0.0025)
        call = web.sessions.logout if ending == "logout" else web.sessions.end_all
        await asyncio.to_thread(call, token if ending == "logout" else user)  # type: ignore[operator]

    async with Redis(unix_socket_path=settings.redis_url.removeprefix("unix://")) as bus, bus.pubsub() as messages:
        await messages.subscribe(events.STREAM)
        listener = asyncio.create_task(close_what_ends(messages))
        together = asyncio.Barrier(101)
        await asyncio.gather(end(together), *(shake_hands(number, together) for number in range(100)))
        await asyncio.wait_for(heard.wait(), 10)
        listener.cancel()
    assert open_ == set()
    await redis.close()
    await db.close()
