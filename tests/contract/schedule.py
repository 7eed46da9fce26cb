"""Operations step by step, in any order that a test wants.

A `Process` has the parts that a real one has, on a real server and a real database, and faults that are its own. Each
call begun in it is a `Task`, which stops before and after every piece of I/O: before `GET` and after it (`GET done`),
before `SQL` and after it (`SQL done`). A task that is never stepped again is a process that was killed.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet
from sqlalchemy.orm import Session as Sql

from authsvc.core.cluster import AsyncDoor, SyncDoor, async_door, sync_door
from authsvc.core.crypto import Token
from authsvc.core.errors import RedisDown, StorageDown
from authsvc.core.session import Session
from authsvc.core.settings import Settings
from authsvc.core.store import Ask, AsyncStore, Found, Statement, Store, load_by_sid
from authsvc.db import AsyncDatabase, Database
from authsvc.domain.accounts import Accounts
from authsvc.domain.jobs import Jobs
from authsvc.domain.outbox import Outbox, unsigned
from authsvc.domain.sessions import Origin, Sessions, find, found
from tests.servers import Valkey

ORIGIN = Origin("192.0.2.1", "Firefox on Linux")
SQL = "SQL"


class Clock:
    """The time of all processes of a test, in unix seconds."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds


class Faults:
    """What one process cannot reach; and all I/O that it has done, in order."""

    def __init__(self) -> None:
        self.redis_cut = False
        self.sql_cut = False
        self.asked: list[str] = []

    def check(self, point: str) -> None:
        self.asked.append(point)
        if self.sql_cut and point == SQL:
            raise StorageDown
        if self.redis_cut and point != SQL:
            raise RedisDown


class Task:
    """A call that stops at each piece of I/O. `at` is where it stands, None once it is done."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._greenlet = _Stepped(self._run)
        self._call = call
        self._answer: Any = None
        self._error: BaseException | None = None
        self.at: str | None = self._greenlet.switch()

    def _run(self) -> None:
        try:
            self._answer = self._call()
        except Exception as error:  # noqa: BLE001 - it is raised again by `finish`
            self._error = error

    @property
    def done(self) -> bool:
        return self.at is None

    def step(self) -> None:
        """Do the next piece of I/O, up to the one after it."""
        self._advance()
        while self.at and self.at.endswith("done"):
            self._advance()

    def until(self, point: str) -> "Task":
        while self.at != point:
            assert not self.done, f"it never came to {point}"
            self._advance()
        return self

    def finish(self) -> Any:
        """Let it run to its end; its answer, or its error raised."""
        while not self.done:
            self._advance()
        if self._error:
            raise self._error
        return self._answer

    def kill(self) -> None:
        self._greenlet.throw(GreenletExit)
        self.at = None

    def _advance(self) -> None:
        self.at = self._greenlet.switch()


class _Stepped(greenlet):
    pass


def _stop_at(point: str) -> None:
    here = getcurrent()
    if isinstance(here, _Stepped) and here.parent:
        here.parent.switch(point)


class _SteppedStore(Store):
    def __init__(self, redis: SyncDoor, clock: Callable[[], float], faults: Faults) -> None:
        super().__init__(redis, clock)
        self._faults = faults

    def perform(self, step: Ask | Statement) -> Any:
        if isinstance(step, Statement):
            return super().perform(step)  # it stops at the door to SQL
        point = step.commands[0][0]
        _stop_at(point)
        self._faults.check(point)
        answer = super().perform(step)
        _stop_at(f"{point} done")
        return answer


class _SteppedDatabase(Database):
    def __init__(self, url: str, faults: Faults) -> None:
        super().__init__(url)
        self._faults = faults

    @contextmanager
    def transaction(self) -> Iterator[Sql]:
        _stop_at(SQL)
        self._faults.check(SQL)
        with super().transaction() as sql:
            yield sql
        _stop_at(f"{SQL} done")

    @contextmanager
    def reading(self) -> Iterator[Sql]:
        _stop_at(SQL)
        self._faults.check(SQL)
        with super().reading() as sql:
            yield sql
        _stop_at(f"{SQL} done")


class Process(Faults):
    """A web process or a worker."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        super().__init__()
        self.db = _SteppedDatabase(settings.sql_url, self)
        self.store = _SteppedStore(sync_door(settings.hot_url), clock, self)
        self.outbox = Outbox(self.db, self.store, unsigned)
        jobs = Jobs(self.db, self.store, settings)
        self.sessions = Sessions(self.db, self.store, self.outbox, jobs, settings)
        self.accounts = Accounts(self.db, self.sessions, self.outbox, jobs, clock)

    def begin(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Task:
        return Task(lambda: call(*args, **kwargs))

    def begin_load(self, token: Token) -> Task:
        return self.begin(self.load, token)

    def load(self, token: Token) -> Session | None:
        return self.sessions.load(token)

    def load_by_sid(self, sid: str) -> Session | None:
        return self.sessions.by_sid(sid)

    def new_user(self, email: str = "anna@example.org", *roles: str) -> str:
        return self.accounts.create(email, "no password", name="Anna", roles=roles).id

    def log_in(self, user_id: str, *, epoch: int = 0, remember: bool = False, replacing: Token | None = None) -> Token:
        _, token = self.sessions.create(
            user_id, epoch, amr=("pwd",), remember=remember, origin=ORIGIN, replacing=replacing
        )
        return token

    def move_to(self, server: Valkey) -> None:
        """From now on this process takes that server for the master."""
        self.store.redis.close()
        self.store.redis = sync_door(server.url)

    def close(self) -> None:
        self.store.redis.close()
        self.db.close()


def every_order(begin: Callable[[], list[Task]], look: Callable[[list[Task]], None]) -> int:
    """Run the tasks that `begin` makes anew each time, in every order of their steps; `look` at them after each step.
    Returns how many orders there are."""
    path: list[int] = []  # at each step, which of the tasks that can go on is the one that does
    orders = 0
    while True:
        tasks, widths = begin(), []
        while ready := [task for task in tasks if not task.done]:
            if len(widths) == len(path):
                path.append(0)
            ready[path[len(widths)]].step()
            widths.append(len(ready))
            look(tasks)
        orders += 1
        assert len(widths) == len(path), "the same steps led elsewhere"
        while path and path[-1] + 1 == widths[len(path) - 1]:
            path.pop()
        if not path:
            return orders
        path[-1] += 1


class AsyncTask:
    """The same for a coroutine, on a loop of its own process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Coroutine[Any, Any, Any]) -> None:
        self._loop = loop
        self._resume: asyncio.Future[None] | None = None
        self._arrived: asyncio.Future[str] = loop.create_future()
        self.at: str | None = None
        self._task = loop.create_task(call)
        _stepped[self._task] = self
        self._wait()

    done, step, until = Task.done, Task.step, Task.until

    def finish(self) -> Any:
        while not self.done:
            self._advance()
        return self._task.result()

    def kill(self) -> None:
        self._task.cancel()
        self._wait()

    async def stop_at(self, point: str) -> None:
        self._resume = self._loop.create_future()
        self._arrived.set_result(point)
        await self._resume

    def _advance(self) -> None:
        assert self._resume
        self._arrived = self._loop.create_future()
        self._resume.set_result(None)
        self._wait()

    def _wait(self) -> None:
        both = asyncio.wait({self._task, self._arrived}, return_when=asyncio.FIRST_COMPLETED)
        self._loop.run_until_complete(both)
        self.at = self._arrived.result() if self._arrived.done() and not self._task.done() else None


_stepped: dict[Any, AsyncTask] = {}


async def _async_stop_at(point: str) -> None:
    task = _stepped.get(asyncio.current_task())
    if task:
        await task.stop_at(point)


class _SteppedAsyncStore(AsyncStore):
    def __init__(self, redis: AsyncDoor, clock: Callable[[], float], faults: Faults) -> None:
        super().__init__(redis, clock)
        self._faults = faults

    async def perform(self, step: Ask | Statement) -> Any:
        point = step.commands[0][0] if isinstance(step, Ask) else SQL
        await _async_stop_at(point)
        self._faults.check(point)
        answer = await super().perform(step)
        await _async_stop_at(f"{point} done")
        return answer


class AsyncProcess(Faults):
    """A bridge: it only loads."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        super().__init__()
        self._settings = settings
        self._runner = asyncio.Runner()
        self.db = AsyncDatabase(settings.sql_url)
        self.store = _SteppedAsyncStore(async_door(settings.hot_url), clock, self)

    def begin_load(self, token: Token) -> AsyncTask:
        return AsyncTask(self._runner.get_loop(), self._load(token))

    def load(self, token: Token) -> Session | None:
        return self._runner.run(self._load(token))

    async def _load(self, token: Token) -> Session | None:
        for _ in range(2):
            await asyncio.sleep(0)  # a real loop would have run all the time, and noticed what the server has closed
        return await self.store.load(token, self._loader)

    def load_by_sid(self, sid: str) -> Session | None:
        operation = load_by_sid(sid, lambda: self._loader(sid), self.store.clock)
        return self._runner.run(self.store.run(operation))

    def move_to(self, server: Valkey) -> None:
        self._runner.run(self.store.redis.close())
        self.store.redis = async_door(server.url)

    def close(self) -> None:
        self._runner.run(self.store.redis.close())
        self._runner.run(self.db.close())
        self._runner.close()

    async def _loader(self, sid: str) -> Found:
        async with self.db.reading() as sql:
            return found((await sql.execute(find(sid))).one_or_none(), self._settings)
