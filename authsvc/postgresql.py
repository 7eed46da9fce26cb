"""Connections to PostgreSQL that do not wait for ever: a frozen server, or one behind a dead proxy, says nothing, and
then the time-outs that it was asked to keep are of no use."""

import time
from collections.abc import Generator
from typing import Any

import psycopg

ANSWER_TIMEOUT = 6.0  # seconds, for a server that is connected and says nothing, not even that it took too long


def _bounded(waiting: Generator[Any, Any, Any], connection: Any) -> Generator[Any, Any, Any]:
    """A psycopg operation that closes its connection when the server stays silent: frozen, or behind a dead proxy."""
    give_up = time.monotonic() + ANSWER_TIMEOUT
    try:
        wanted = next(waiting)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > give_up:
                connection.finish()
                raise psycopg.OperationalError("the server does not answer")
            wanted = waiting.send(ready)
    except StopIteration as stop:
        return stop.value


class Connection(psycopg.Connection[Any]):
    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        return super().wait(_bounded(gen, self.pgconn), *args, **kwargs)


class AsyncConnection(psycopg.AsyncConnection[Any]):
    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        return await super().wait(_bounded(gen, self.pgconn), *args, **kwargs)
