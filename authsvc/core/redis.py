"""The two doors to Redis, sync and async: a bounded pool, one try of 250 ms, a breaker, and the run of each connection.

The **run** names the life of a server: it changes when the server restarts or another is promoted. It is read once on
each new connection and stays with it, so whoever gets an answer knows which run gave it.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis import BlockingConnectionPool, RedisError
from redis.asyncio import BlockingConnectionPool as AsyncBlockingConnectionPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.retry import Retry

from authsvc.core.errors import RedisDown

TIMEOUT = 0.25  # seconds, for a connection, for an answer, and for a place in the pool
POOL_SIZE = 64
UNKNOWN_RUN = bytes(8)  # INFO is forbidden (a proxy, an ACL): copies are then believed for L on any run

Command = tuple[Any, ...]


class Reply(NamedTuple):
    """The answers to some commands, and the run of the server that gave them."""

    values: list[Any]
    run: bytes


def run_of(info: bytes) -> bytes:
    """The run in the text of `INFO server` and `INFO replication`. Only a master may answer."""
    fields = dict(line.split(b":", 1) for line in info.split(b"\r\n") if b":" in line)
    if fields.get(b"role") != b"master":
        raise RedisConnectionError("this Redis server is not a master")
    return hashlib.sha256(fields[b"run_id"] + fields[b"master_replid"]).digest()[:8]


class Breaker:
    """After three failures in a row nobody tries for a second, then one does. No lock: a race costs one more try."""

    FAILURES, PAUSE = 3, 1.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_again = 0.0

    def check(self) -> None:
        if self._failures < self.FAILURES:
            return
        now = self._clock()
        if now < self._closed_again:
            raise RedisDown
        self._closed_again = now + self.PAUSE

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= self.FAILURES:
            self._closed_again = self._clock() + self.PAUSE


def _pool_options() -> dict[str, Any]:
    return {
        "max_connections": POOL_SIZE,
        "timeout": TIMEOUT,
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
    }


class SyncRedis:
    """Executes commands on one connection of the pool; any failure closes that connection and raises RedisDown."""

    def __init__(self, url: str) -> None:
        self._pool: Any = BlockingConnectionPool.from_url(
            url, **_pool_options(), retry=Retry(NoBackoff(), 0), redis_connect_func=self._on_connect
        )
        self._breaker = Breaker()

    @staticmethod
    def _on_connect(connection: Any) -> None:
        connection.on_connect()
        connection.authsvc_run = UNKNOWN_RUN
        connection.send_packed_command(connection.pack_commands([("INFO", "server"), ("INFO", "replication")]))
        answers = []
        for _ in range(2):
            try:
                answers.append(connection.read_response(disable_decoding=True))
            except ResponseError as error:
                answers.append(error)
        if not any(isinstance(answer, ResponseError) for answer in answers):
            connection.authsvc_run = run_of(b"".join(answers))

    def execute(self, *commands: Command) -> Reply:
        self._breaker.check()
        try:
            connection: Any = self._pool.get_connection()
        except (RedisError, OSError) as error:
            self._breaker.failed()
            raise RedisDown from error
        try:
            reply = self._converse(connection, commands)
        except BaseException as error:
            connection.disconnect()
            if not isinstance(error, (RedisError, OSError)):
                raise
            self._breaker.failed()
            raise RedisDown from error
        finally:
            self._pool.release(connection)
        self._breaker.succeeded()
        return reply

    @staticmethod
    def _converse(connection: Any, commands: Sequence[Command]) -> Reply:
        connection.send_packed_command(connection.pack_commands(commands))
        return Reply([connection.read_response() for _ in commands], connection.authsvc_run)

    def close(self) -> None:
        self._pool.disconnect()


class AsyncRedis:
    """The async twin of SyncRedis. A cancelled call closes its connection: the answer on it is nobody's."""

    def __init__(self, url: str) -> None:
        self._pool: Any = AsyncBlockingConnectionPool.from_url(
            url, **_pool_options(), retry=AsyncRetry(NoBackoff(), 0), redis_connect_func=self._on_connect
        )
        self._breaker = Breaker()

    @staticmethod
    async def _on_connect(connection: Any) -> None:
        await connection.on_connect()
        connection.authsvc_run = UNKNOWN_RUN
        await connection.send_packed_command(
            connection.pack_commands([("INFO", "server"), ("INFO", "replication")]), check_health=False
        )
        answers = []
        for _ in range(2):
            try:
                answers.append(await connection.read_response(disable_decoding=True))
            except ResponseError as error:
                answers.append(error)
        if not any(isinstance(answer, ResponseError) for answer in answers):
            connection.authsvc_run = run_of(b"".join(answers))

    async def execute(self, *commands: Command) -> Reply:
        self._breaker.check()
        try:
            connection: Any = await self._pool.get_connection()
        except (RedisError, OSError) as error:
            self._breaker.failed()
            raise RedisDown from error
        try:
            reply = await self._converse(connection, commands)
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if not isinstance(error, (RedisError, OSError)):
                raise
            self._breaker.failed()
            raise RedisDown from error
        finally:
            await self._pool.release(connection)
        self._breaker.succeeded()
        return reply

    @staticmethod
    async def _converse(connection: Any, commands: Sequence[Command]) -> Reply:
        await connection.send_packed_command(connection.pack_commands(commands))
        return Reply([await connection.read_response() for _ in commands], connection.authsvc_run)

    async def close(self) -> None:
        await self._pool.disconnect()
