"""Clients that hold sockets and streams of sessions open, and write down what these tell them and when they close."""

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.conftest import ORIGIN
from tests.faults.clients import PATIENCE, Field, Known

ENDED, LOST, LEFT = "ended", "lost", "left"  # why a connection is closed: told that the session ended; not told; by us
NO_SESSION = 4401
GONE = (OSError, WebSocketException)
LONGEST = 20.0  # seconds that a connection is held
POLL = 0.5  # seconds

Told = tuple[str, str]  # an event's name, and the session that it is about


class Ended(Exception):
    """The client was told that its session has ended."""


class Watcher(threading.Thread):
    """One connection after another, of a session in use or of one that was ended a moment ago."""

    def __init__(self, field: Field, port: int, seed: str) -> None:
        super().__init__(daemon=True)
        self._field, self._port = field, port
        self._chance = random.Random(seed)
        self._until = 0.0

    def run(self) -> None:
        while not self._field.stop.is_set():
            kinds = (self._field.sessions, self._field.ended)
            sessions = kinds[self._chance.random() < 0.15]
            if not sessions:
                time.sleep(0.05)
                continue
            self._until = time.monotonic() + self._chance.uniform(1, LONGEST)
            watch = self._chance.choice((self._socket, self._stream))
            watch(self._chance.choice(sessions))

    def over(self) -> bool:
        return time.monotonic() > self._until or self._field.stop.is_set()

    def _socket(self, session: Known) -> None:
        number = self._field.book.invoke("socket", session=session.name)
        with ExitStack() as stack:
            try:
                opened = stack.enter_context(self._connect(session))
                hello = _frame(opened, PATIENCE)
            except Ended:
                self._told(number, "fail")
            except GONE:
                self._unknown(number)
            else:
                self._told(number, "ok", saw=hello["user"])
                self._note(number, lambda: _frames(opened, self.over))

    def _connect(self, session: Known) -> AbstractContextManager[ClientConnection]:
        return connect(
            f"ws://127.0.0.1:{self._port}/ws", origin=Origin(ORIGIN), subprotocols=[Subprotocol("authsvc.v1")],
            additional_headers={"Cookie": session.cookie}, compression=None, proxy=None, open_timeout=PATIENCE,
            close_timeout=1, ping_interval=None,
        )  # fmt: skip

    def _stream(self, session: Known) -> None:
        number = self._field.book.invoke("stream", session=session.name)
        request = f"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {session.cookie}\r\n\r\n"
        try:
            stream = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
        except OSError:
            self._unknown(number)
            return
        with stream:
            try:
                stream.sendall(request.encode())
                status = stream.recv(12)[9:]
            except OSError:
                status = b""
            if status == b"200":
                self._told(number, "ok")
                self._note(number, lambda: _chunks(stream, self.over))
            else:
                self._told(number, "fail") if status == b"204" else self._unknown(number)

    def _note(self, number: int, events: Callable[[], Iterator[Told]]) -> None:
        """Until the connection is closed."""
        why = LEFT
        try:
            for name, sid in events():
                self._told(number, "event", name=name, sid=sid)
        except Ended:
            why = ENDED
        except GONE:
            why = LOST
        self._told(number, "closed", why=why)

    def _told(self, number: int, result: str, **answer: Any) -> None:
        self._field.book.write(type=result, id=number, time=time.time(), **answer)

    def _unknown(self, number: int) -> None:
        self._told(number, "unknown")
        time.sleep(0.1)  # a part is down: it is not hammered


def _frame(opened: ClientConnection, patience: float) -> dict[str, Any]:
    try:
        return dict(json.loads(opened.recv(patience)))
    except ConnectionClosed as closed:
        if closed.rcvd and closed.rcvd.code == NO_SESSION:
            raise Ended from None
        raise


def _frames(opened: ClientConnection, over: Callable[[], bool]) -> Iterator[Told]:
    while not over():
        with suppress(TimeoutError):
            frame = _frame(opened, POLL)
            yield frame["event"], frame["data"].get("sid", "")


def _chunks(stream: socket.socket, over: Callable[[], bool]) -> Iterator[Told]:
    """What is neither the name nor the data of an event is passed over: heads, sizes of chunks, heartbeats."""
    name = ""
    for line in _lines(stream, over):
        if line == "event: session":
            raise Ended
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: ")).get("sid", "")


def _lines(stream: socket.socket, over: Callable[[], bool]) -> Iterator[str]:
    stream.settimeout(POLL)
    rest = b""
    while not over():
        with suppress(TimeoutError):
            data = stream.recv(65536)
            if not data:
                raise ConnectionError
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode() for line in lines)
