"""The two doors to a Redis Cluster: each command goes to the server that its key belongs to, one try, through the door
of that server (core/redis.py), so that pools, waits, breakers and runs are those of each server.

Nothing follows a redirection. The command that meets one fails, which costs a read from SQL, and makes the map of slots
doubtful: it is asked for anew before the next command, once a second at most.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ConnectionError as RedisConnectionError

from authsvc.core import redis_url
from authsvc.core.errors import RedisDown
from authsvc.core.redis import TIMEOUT, AsyncRedis, Breaker, Command, Reply, SyncRedis

SLOTS: Command = ("CLUSTER", "SLOTS")


class Share(NamedTuple):
    """What is to be executed on one server. The answer is its Reply, or RedisDown is thrown in."""

    server: str  # a URL
    commands: tuple[Command, ...]
    replica_too: bool = False


class Slots:
    """Which server has which slot, and what to ask whom. Without I/O: both doors do what its generators ask for."""

    def __init__(self, seeds: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._seeds = tuple(seeds)
        self._known = self._seeds
        self._owners: list[str | None] = []
        self._clock = clock
        self._doubted = True
        self._not_before = 0.0

    def execute(self, commands: Sequence[Command]) -> Generator[Share, Reply, Reply]:
        """The answers in order, with the run of the server that has the last command. When a server fails, the others
        still get what is theirs; then RedisDown is raised."""
        yield from self._look()
        values: list[Any] = [None] * len(commands)
        run, failure = b"", None
        for server, positions in self._shares(commands):
            try:
                reply = yield Share(server, tuple(commands[position] for position in positions))
            except RedisDown as error:
                self._doubted, failure = True, error
                continue
            run = reply.run
            for position, value in zip(positions, reply.values, strict=True):
                values[position] = value
        if failure:
            raise failure
        return Reply(values, run)

    def server_of(self, key: str) -> Generator[Share, Reply, str]:
        yield from self._look()
        return self._owner(key.encode())

    def _look(self) -> Generator[Share, Reply, None]:
        if self._owners and not (self._doubted and self._clock() >= self._not_before):
            return
        self._doubted, self._not_before = False, self._clock() + Breaker.PAUSE  # others go on with the old map
        failure, until = RedisDown(), self._clock() + TIMEOUT
        for server in self._known:
            try:
                reply = yield Share(server, (SLOTS,), replica_too=True)
            except RedisDown as error:
                failure = error
            else:
                self._learn(reply.values[0], server)
                return
            if self._clock() > until:
                break
        self._doubted = True
        if not self._owners:
            raise failure

    def _learn(self, answer: Sequence[Any], asked: str) -> None:
        """A server that does not know its own address is the one that was asked."""
        owners: list[str | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        known = []
        for first, last, (host, port, *_), *_replicas in answer:
            known.append(redis_url.at(asked, host.decode(), port) if host else asked)
            owners[first : last + 1] = [known[-1]] * (last - first + 1)
        self._owners, self._known = owners, tuple(dict.fromkeys([*known, *self._seeds]))

    def _shares(self, commands: Sequence[Command]) -> Iterator[tuple[str, list[int]]]:
        """The servers, and the positions of their commands. The server of the last command comes last: what is said
        there (a publish) follows all that was written elsewhere."""
        positions: dict[str, list[int]] = {}
        for position, command in enumerate(commands):
            positions.setdefault(self._owner(_key_of(command)), []).append(position)
        yield from sorted(positions.items(), key=lambda share: share[1][-1])

    def _owner(self, key: bytes | None) -> str:
        server = self._known[0] if key is None else self._owners[key_slot(key)]
        if server is None:
            self._doubted = True
            raise RedisDown from RedisConnectionError("a slot of the Cluster has no server")
        return server


def _key_of(command: Command) -> bytes | None:
    if len(command) == 1 or command[0] == "CLUSTER":
        return None
    key = command[3 if command[0] == "EVAL" else 1]
    return key if isinstance(key, bytes) else str(key).encode()


class SyncCluster:
    def __init__(self, url: str) -> None:
        self._slots = Slots(redis_url.read(url).servers)
        self._servers: dict[tuple[str, bool], SyncRedis] = {}

    def execute(self, *commands: Command) -> Reply:
        reply: Reply = self._converse(self._slots.execute(commands))
        return reply

    def client(self, channel: str, timeout: float) -> Any:
        """See SyncRedis: of the server where a publish to the channel goes."""
        return self._server(self._converse(self._slots.server_of(channel))).client(channel, timeout)

    def _converse(self, conversation: Generator[Share, Reply, Any]) -> Any:
        try:
            share = next(conversation)
            while True:
                try:
                    reply = self._server(share.server, replica_too=share.replica_too).execute(*share.commands)
                except RedisDown as error:
                    share = conversation.throw(error)
                else:
                    share = conversation.send(reply)
        except StopIteration as stop:
            return stop.value

    def _server(self, url: str, *, replica_too: bool = False) -> SyncRedis:
        key = (url, replica_too)
        return self._servers.get(key) or self._servers.setdefault(key, SyncRedis(url, replica_too=replica_too))

    def close(self) -> None:
        for server in self._servers.values():
            server.close()


class AsyncCluster:
    """The async twin of SyncCluster."""

    def __init__(self, url: str) -> None:
        self._slots = Slots(redis_url.read(url).servers)
        self._servers: dict[tuple[str, bool], AsyncRedis] = {}

    async def execute(self, *commands: Command) -> Reply:
        reply: Reply = await self._converse(self._slots.execute(commands))
        return reply

    async def client(self, channel: str, timeout: float) -> Any:  # noqa: ASYNC109 - of the client's waits
        return await self._server(await self._converse(self._slots.server_of(channel))).client(channel, timeout)

    async def _converse(self, conversation: Generator[Share, Reply, Any]) -> Any:
        try:
            share = next(conversation)
            while True:
                try:
                    reply = await self._server(share.server, replica_too=share.replica_too).execute(*share.commands)
                except RedisDown as error:
                    share = conversation.throw(error)
                else:
                    share = conversation.send(reply)
        except StopIteration as stop:
            return stop.value

    def _server(self, url: str, *, replica_too: bool = False) -> AsyncRedis:
        key = (url, replica_too)
        return self._servers.get(key) or self._servers.setdefault(key, AsyncRedis(url, replica_too=replica_too))

    async def close(self) -> None:
        for server in self._servers.values():
            await server.close()


SyncDoor = SyncRedis | SyncCluster
AsyncDoor = AsyncRedis | AsyncCluster


def sync_door(url: str) -> SyncDoor:
    return SyncCluster(url) if redis_url.read(url).cluster else SyncRedis(url)


def async_door(url: str) -> AsyncDoor:
    return AsyncCluster(url) if redis_url.read(url).cluster else AsyncRedis(url)
