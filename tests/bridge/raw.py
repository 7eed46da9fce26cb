"""A client without manners: it sends any bytes, answers nothing, and reads only when it is told to."""

import select
import socket
import struct
from typing import Self

from tests.conftest import ORIGIN

PATIENCE = 10  # seconds
SMALL = 4096  # bytes of a receive buffer that is soon full
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class Raw:
    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(("127.0.0.1", port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def open(self, kind: str, cookie: str) -> None:
        """Open a socket or a stream, and read as far as the end of the answer's head."""
        path, extra = {"ws": ("/ws", UPGRADE), "sse": ("/events", "")}[kind]
        self.send(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: {ORIGIN}\r\nCookie: session={cookie}\r\n{extra}\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._socket.recv(1)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Cut the connection."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def gone(self) -> bool:
        """Whether the server has cut the connection: not merely closed its side, but given the client up."""
        poll = select.poll()
        poll.register(self._socket, 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))

    def rest(self) -> bytes:
        """Everything that still comes until the connection is over."""
        data = b""
        try:
            while part := self._socket.recv(65536):
                data += part
        except ConnectionResetError:
            pass
        return data


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A client's frame, masked with zeros (RFC 6455, 5.2)."""
    first, size = opcode | (0x80 if fin else 0), len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + bytes(4) + payload


def close_code(data: bytes) -> int | None:
    """The code of the close frame at the end of what a server has sent; None if there is none."""
    while len(data) >= 2:
        size, start = data[1] & 0x7F, 2
        if size == 126:
            size, start = struct.unpack("!H", data[2:4])[0], 4
        if data[0] & 0x0F == 8 and size >= 2:
            return int(struct.unpack("!H", data[start : start + 2])[0])
        data = data[start + size :]
    return None
