"""Two operations on one session in every order of their pieces of I/O. No transaction is open between two steps, so one
kind of database is enough here; tests/contract/test_random_orders.py runs on both."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from authsvc.core.crypto import Token, new_token
from authsvc.core.errors import InvalidCredentials
from authsvc.core.session import Session
from authsvc.core.settings import MINUTE
from tests.contract.conftest import Reader, forget
from tests.contract.schedule import AsyncProcess, AsyncTask, Clock, Process, Task, every_order
from tests.servers import Valkey

Start = Callable[..., Any]


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


class World:
    """A user, a process that logs out, one that does something else, and a session anew for each order."""

    def __init__(self, start: Start, valkey: Valkey, clock: Clock) -> None:
        self.web, self.other, self.bridge = start(), start(), start(AsyncProcess)
        self.clock, self.valkey = clock, valkey
        self.user = self.web.new_user()
        self.token: Token = new_token()

    def session(self, *, copied: bool = True) -> Session:
        self.token = self.web.log_in(self.user)
        session = self.other.load(self.token)
        if not copied:
            forget(self.valkey, self.token)
        assert session
        return session


@pytest.fixture
def world(start: Start, valkey: Valkey, clock: Clock) -> World:
    return World(start, valkey, clock)


def load_a_copy(world: World) -> Task:
    world.session()
    return world.other.begin_load(world.token)


def load_anew(world: World) -> Task:
    world.session(copied=False)
    return world.other.begin_load(world.token)


def load_old_copy(world: World) -> Task:
    world.session()
    world.clock.tick(11)
    return world.other.begin_load(world.token)


def touch(world: World) -> Task:
    world.session()
    world.clock.tick(MINUTE)
    return world.other.begin_load(world.token)


def bridge_loads_anew(world: World) -> AsyncTask:
    world.session(copied=False)
    return world.bridge.begin_load(world.token)


def save(world: World) -> Task:
    return world.other.begin(world.other.sessions.save, world.session(), {"a": 1})


def save_without_copy(world: World) -> Task:
    return world.other.begin(world.other.sessions.save, world.session(copied=False), {"a": 1})


def rotate(world: World) -> Task:
    return world.other.begin(world.other.sessions.rotate, world.session(), ("pwd",))


def log_out_too(world: World) -> Task:
    world.session()
    return world.other.begin(world.other.sessions.logout, world.token)


REQUESTS = [
    load_a_copy,
    load_anew,
    load_old_copy,
    touch,
    bridge_loads_anew,
    save,
    save_without_copy,
    rotate,
    log_out_too,
]


@pytest.mark.promise("R1")
@pytest.mark.promise("R2")
@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("probe", [Process, AsyncProcess, None], ids=["web probes", "bridge probes", "in the end"])
def test_logout_wins_in_every_order(world: World, start: Start, request_: Any, probe: type[Reader] | None) -> None:
    """From the moment of its acknowledgement the cookie is refused: by a process that asks after each step, which may
    itself write to Redis, or by all in the end."""
    prober = start(probe) if probe else None
    logouts: list[Task] = []

    def begin() -> list[Any]:
        request = request_(world)
        logouts[:] = [world.web.begin(world.web.sessions.logout, world.token)]
        return [*logouts, request]

    def look(tasks: list[Any]) -> None:
        if logouts[0].done and prober:
            assert prober.load(world.token) is None
        if all(task.done for task in tasks):
            assert logouts[0].finish().final_by is None
            tokens = [world.token, *(task.finish() for task in tasks if isinstance(task.finish(), Token))]
            for each in (world.other, world.bridge):
                assert [each.load(token) for token in tokens] == [None] * len(tokens)

    assert every_order(begin, look) >= 4


@pytest.mark.promise("L1")
def test_two_saves_of_different_keys_both_survive_in_every_order(world: World) -> None:
    web, other = world.web, world.other

    def begin() -> list[Task]:
        session = world.session()
        return [p.begin(p.sessions.save, session, {name: 1}) for p, name in ((web, "first"), (other, "second"))]

    def look(tasks: list[Task]) -> None:
        if all(task.done for task in tasks):
            session = world.bridge.load(world.token)
            assert session
            assert session.data == {"first": 1, "second": 1}

    assert every_order(begin, look) > 20


@pytest.mark.promise("B2")
def test_of_two_rotations_exactly_one_token_is_left_in_every_order(world: World) -> None:
    web, other = world.web, world.other

    def begin() -> list[Task]:
        session = world.session()
        return [p.begin(p.sessions.rotate, session, ("pwd",)) for p in (web, other)]

    def look(tasks: list[Task]) -> None:
        if all(task.done for task in tasks):
            tokens = [world.token, *(task.finish() for task in tasks)]
            alive = [token for token in tokens if world.bridge.load(token)]
            assert len(alive) == 1
            assert alive != [world.token]

    assert every_order(begin, look) > 20


@pytest.mark.promise("R4")
def test_a_login_goes_on_after_end_all_only_if_its_password_was_checked_later(world: World) -> None:
    web, other = world.web, world.other
    numbers = count()
    read_before_end_all: list[bool] = []

    def log_in(user: str, email: str) -> Token | None:
        credentials = other.accounts.known(email).account
        assert credentials
        try:
            return other.log_in(user, epoch=credentials.epoch)
        except InvalidCredentials:
            return None

    def begin() -> list[Task]:
        email = f"{next(numbers)}@example.org"
        user = web.new_user(email)
        web.log_in(user)
        for each in (web, other):
            each.asked.clear()
        read_before_end_all.clear()
        return [web.begin(web.sessions.end_all, user), other.begin(log_in, user, email)]

    def look(tasks: list[Task]) -> None:
        if web.asked and not read_before_end_all:
            read_before_end_all.append(bool(other.asked))
        if all(task.done for task in tasks):
            assert tasks[0].finish().final_by is None
            token = tasks[1].finish()
            assert (token is None or world.bridge.load(token) is None) == read_before_end_all[0]

    assert every_order(begin, look) > 5
