"""A load client that is lean enough not to be the bottleneck: raw sockets, prepared requests, one selector."""

import os
import selectors
import socket
import time
from dataclasses import dataclass, field


@dataclass
class Result:
    """What a run saw. Latencies in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def request(method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def run(port: int, requests: list[bytes], *, connections: int, seconds: float) -> Result:
    """Send the requests round and round over some kept-alive connections, one at a time on each."""
    selector, result = selectors.DefaultSelector(), Result()
    clients = [_Client(port, requests[index::connections] or requests) for index in range(connections)]
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.send()
    start = time.perf_counter()
    end = start + seconds
    while time.perf_counter() < end:
        for key, _ in selector.select(timeout=0.1):
            client = key.data
            if client.receive():
                result.latencies.append(time.perf_counter() - client.sent)
                result.statuses[client.status] = result.statuses.get(client.status, 0) + 1
                client.send()
    result.seconds = time.perf_counter() - start
    for client in clients:
        client.socket.close()
    return result


class _Client:
    def __init__(self, port: int, requests: list[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._next = 0
        self._buffer = b""
        self.sent = 0.0
        self.status = 0

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.socket.sendall(self._requests[self._next % len(self._requests)])
        self._next += 1

    def receive(self) -> bool:
        """Read what is there; True when an answer is complete."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self._buffer += chunk
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found or len(rest) < _length(head):
            return False
        self.status = int(head[9:12])
        self._buffer = b""
        return True


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


def pin(core: int) -> None:
    """Keep this process on one core, so that client and server do not share one."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})
