"""The two doors to a Redis server, sync and async: a bounded pool, one try of 250 ms, a breaker, and the run of each
connection. Where Sentinels say which server is the master, a new connection is made to the one that they name.

The **run** names the life of a server: it changes when the server restarts or another is promoted. It is read once on
each new connection and stays with it, so whoever gets an answer knows which run gave it.

The pools are our own few lines over redis-py's connections: its pools do more at each command than the command costs.
"""

import asyncio
import hashlib
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from hiredis import Reader, pack_command
from redis import Redis, RedisError
from redis._parsers import BaseParser
from redis.asyncio import Redis as AsyncClient
from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.connection import ConnectionPool as AsyncPool
from redis.asyncio.connection import parse_url as parse_async_url
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from authsvc.core import redis_url
from authsvc.core.errors import RedisDown

TIMEOUT = 0.25  # seconds, for a connection, for an answer, and for a place in the pool
POOL_SIZE = 64
RECEIVED = 16384  # bytes at once
JUST_USED = 0.01  # seconds in which a connection is not looked at again: no server restarts so fast
UNKNOWN_RUN = bytes(8)  # INFO is forbidden (a proxy, an ACL): copies are then believed for L on any run

TIMED_OUT = (RedisTimeoutError, TimeoutError, BlockingIOError)

Command = tuple[Any, ...]
WHO_IS_MASTER = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME")
WHO_ARE_YOU: tuple[Command, ...] = (("INFO", "server"), ("INFO", "replication"))


class Reply(NamedTuple):
    """The answers to some commands, and the run of the server that gave them."""

    values: list[Any]
    run: bytes


def run_of(answers: Sequence[Any]) -> bytes:
    """The run in the answers to `INFO server` and `INFO replication`. Only a master may answer."""
    if any(isinstance(answer, ResponseError) for answer in answers):
        return UNKNOWN_RUN
    lines = b"".join(answers).split(b"\r\n")
    fields = dict(line.split(b":", 1) for line in lines if b":" in line)
    if fields.get(b"role", b"master") != b"master":
        raise RedisConnectionError("this Redis server is not a master")
    try:
        return hashlib.sha256(fields[b"run_id"] + fields[b"master_replid"]).digest()[:8]
    except KeyError:  # something before Redis answers in its place
        return UNKNOWN_RUN


class Breaker:
    """After three failures in a row, or one time-out, nobody tries for a second, then one does: a frozen Redis costs a
    request one time-out and not one for each thing it wants. No lock: a race costs one more try."""

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

    def failed(self, error: Exception) -> None:
        timed_out = any(isinstance(each, TIMED_OUT) for each in (error, error.__cause__))
        self._failures += self.FAILURES if timed_out else 1
        if self._failures >= self.FAILURES:
            self._closed_again = self._clock() + self.PAUSE


class _Way:
    """How connections to a server are made: the library's class for it, and its options."""

    def __init__(self, default: Any, parse: Any, url: str, **more: Any) -> None:
        options = parse(url)
        self.kind = options.pop("connection_class", default)
        self.options: dict[str, Any] = {**options, **more}

    def connection(self, timeout: float = TIMEOUT, **more: Any) -> Any:
        return self.kind(**{**self.options, "socket_timeout": timeout, "socket_connect_timeout": timeout, **more})

    def at(self, address: Sequence[bytes]) -> dict[str, Any]:
        """The options that lead to the address which a Sentinel has named."""
        host, port = address
        return {"host": host.decode(), "port": int(port)}


class SyncRedis:
    """Executes commands on one connection; any failure closes that connection and raises RedisDown. A replica may
    answer only to whom asks it for nothing but its view of the Cluster (`replica_too`)."""

    def __init__(self, url: str, *, replica_too: bool = False) -> None:
        self._replica_too = replica_too
        where = redis_url.read(url)
        once = Retry(NoBackoff(), 0)
        self._way = _Way(Connection, parse_url, where.servers[0], retry=once)
        self._sentinels = [_Way(Connection, parse_url, sentinel, retry=once) for sentinel in where.sentinels]
        self._master = where.master
        self._idle: list[Any] = []  # the one used last is taken first; append and pop are atomic
        self._places: SimpleQueue[None] = SimpleQueue()  # a semaphore without Python in it
        for _ in range(POOL_SIZE):
            self._places.put(None)
        self._breaker = Breaker()

    def _on_connect(self, connection: Any) -> None:
        connection.on_connect()
        connection.send_packed_command(connection.pack_commands(WHO_ARE_YOU))
        answers = [_answer(connection) for _ in WHO_ARE_YOU]
        connection.authsvc_run = UNKNOWN_RUN if self._replica_too else run_of(answers)
        connection.authsvc_socket = _waiting_in_the_kernel(connection._get_socket())  # noqa: SLF001 - no other way to it
        connection.authsvc_reader = Reader(protocolError=InvalidResponse, replyError=BaseParser.parse_error)
        connection.authsvc_poll = select.poll()
        connection.authsvc_poll.register(connection.authsvc_socket, select.POLLIN)

    def execute(self, *commands: Command) -> Reply:
        self._breaker.check()
        try:
            reply = self._in_turn(commands)
        except (RedisError, OSError) as error:
            self._breaker.failed(error)
            raise RedisDown from error
        self._breaker.succeeded()
        return reply

    def _in_turn(self, commands: Sequence[Command]) -> Reply:
        try:
            self._places.get(timeout=TIMEOUT)
        except Empty:
            raise RedisDown from TimeoutError("every connection is in use")
        try:
            return self._converse(self._take(), commands)
        finally:
            self._places.put(None)

    def _converse(self, connection: Any, commands: Sequence[Command]) -> Reply:
        try:
            connection.authsvc_socket.sendall(b"".join(map(pack_command, commands)))
            reply = Reply([_next_answer(connection) for _ in commands], connection.authsvc_run)
        except BaseException:
            connection.disconnect()
            raise
        connection.authsvc_used = time.monotonic()
        self._idle.append(connection)
        return reply

    def _take(self) -> Any:
        """A connection on which nothing is under way. One that has something to read is closed, by the server (it
        restarted) or by us: nobody waits for that answer."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if time.monotonic() - connection.authsvc_used < JUST_USED or not connection.authsvc_poll.poll(0):
                return connection
            connection.disconnect()
        connection = self._way.connection(redis_connect_func=self._on_connect, **self._address())
        connection.connect()
        return connection

    def _address(self) -> dict[str, Any]:
        """Where the master is, if that is for Sentinels to say. Whoever answered last is asked first."""
        for sentinel in self._sentinels:
            connection = sentinel.connection(TIMEOUT / len(self._sentinels))
            try:
                connection.connect()
                connection.send_command(*WHO_IS_MASTER, self._master)
                address = connection.read_response()
            except (RedisError, OSError):
                continue
            finally:
                connection.disconnect()
            if address:
                self._sentinels = [sentinel, *(each for each in self._sentinels if each is not sentinel)]
                return self._way.at(address)
        if self._sentinels:
            raise RedisConnectionError("no Sentinel names the master")
        return {}

    def client(self, channel: str, timeout: float) -> Redis:  # noqa: ARG002 - in a Cluster the channel decides
        """A client of the library's, on the server that the messages of a channel go to. Waits are `timeout` seconds.
        Raises RedisError or OSError if that cannot be known."""
        waits = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        options = {**self._way.options, **self._address(), **waits}
        return Redis.from_pool(ConnectionPool(connection_class=self._way.kind, **options))

    def close(self) -> None:
        while self._idle:
            self._idle.pop().disconnect()


def _waiting_in_the_kernel(connected: socket.socket) -> socket.socket:
    """Python's own time-out asks before each read and each write whether it may: two system calls more, at each of
    which another thread may take the interpreter. When its time is over such a socket raises BlockingIOError."""
    if type(connected) is socket.socket:  # and not one of TLS
        connected.settimeout(None)
        patience = struct.pack("ll", *divmod(int(TIMEOUT * 1_000_000), 1_000_000))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connected.setsockopt(socket.SOL_SOCKET, option, patience)
    return connected


def _next_answer(connection: Any) -> Any:
    reader = connection.authsvc_reader
    while (value := reader.gets()) is False:
        if not (received := connection.authsvc_socket.recv(RECEIVED)):
            raise RedisConnectionError("the server has closed the connection")
        reader.feed(received)
    if isinstance(value, RedisError):
        raise value
    return value


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


class AsyncRedis:
    """The async twin of SyncRedis. A cancelled call closes its connection: the answer on it is nobody's."""

    def __init__(self, url: str, *, replica_too: bool = False) -> None:
        self._replica_too = replica_too
        where = redis_url.read(url)
        once = AsyncRetry(NoBackoff(), 0)
        self._way = _Way(AsyncConnection, parse_async_url, where.servers[0], retry=once)
        self._sentinels = [_Way(AsyncConnection, parse_async_url, sentinel, retry=once) for sentinel in where.sentinels]
        self._master = where.master
        self._idle: list[Any] = []
        self._places = asyncio.BoundedSemaphore(POOL_SIZE)
        self._breaker = Breaker()

    async def _on_connect(self, connection: Any) -> None:
        await connection.on_connect()
        await connection.send_packed_command(connection.pack_commands(WHO_ARE_YOU), check_health=False)
        answers = [await _async_answer(connection) for _ in WHO_ARE_YOU]
        connection.authsvc_run = UNKNOWN_RUN if self._replica_too else run_of(answers)

    async def execute(self, *commands: Command) -> Reply:
        self._breaker.check()
        try:
            reply = await self._in_turn(commands)
        except (RedisError, OSError) as error:
            self._breaker.failed(error)
            raise RedisDown from error
        self._breaker.succeeded()
        return reply

    async def _in_turn(self, commands: Sequence[Command]) -> Reply:
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._places.acquire()
        except TimeoutError as error:
            raise RedisDown from error
        try:
            return await self._converse(await self._take(), commands)
        finally:
            self._places.release()

    async def _converse(self, connection: Any, commands: Sequence[Command]) -> Reply:
        try:
            await connection.send_packed_command(connection.pack_commands(commands))
            reply = Reply([await connection.read_response() for _ in commands], connection.authsvc_run)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._idle.append(connection)
        return reply

    async def _take(self) -> Any:
        while self._idle:
            connection = self._idle.pop()
            if not _is_closed(connection):
                return connection
            await connection.disconnect(nowait=True)
        connection = self._way.connection(redis_connect_func=self._on_connect, **await self._address())
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _address(self) -> dict[str, Any]:
        for sentinel in self._sentinels:
            connection = sentinel.connection(TIMEOUT / len(self._sentinels))
            try:
                await connection.connect()
                await connection.send_command(*WHO_IS_MASTER, self._master)
                address = await connection.read_response()
            except (RedisError, OSError):
                continue
            finally:
                await connection.disconnect(nowait=True)
            if address:
                self._sentinels = [sentinel, *(each for each in self._sentinels if each is not sentinel)]
                return self._way.at(address)
        if self._sentinels:
            raise RedisConnectionError("no Sentinel names the master")
        return {}

    async def client(self, channel: str, timeout: float) -> AsyncClient:  # noqa: ARG002, ASYNC109 - of the client's waits
        waits = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        options = {**self._way.options, **await self._address(), **waits, "redis_connect_func": self._on_connect}
        return AsyncClient.from_pool(AsyncPool(connection_class=self._way.kind, **options))

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().disconnect()


async def _async_answer(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _is_closed(connection: Any) -> bool:
    """Whether the server has closed it, as far as the loop knows. Nothing can wait to be read: see `_converse`."""
    return bool(connection._writer.is_closing() or connection._reader.at_eof())  # noqa: SLF001 - no other way to it
