"""Servers that misbehave: a Redis with odd answers or none, and a way to PostgreSQL that freezes."""

import socket
import threading
import time
from contextlib import closing, suppress

GREETING = b"role:master\r\nrun_id:abc\r\nmaster_replid:def\r\n"


class OddServer:
    """Greets as a Redis master should, and answers anything else with some bytes, or not at all."""

    def __init__(self, answer: bytes) -> None:
        self.connections: list[socket.socket] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self.connections.append(self._listener.accept()[0])
                threading.Thread(target=self._converse, args=self.connections[-1:], daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            while asked := connection.recv(65536):
                greeting = b"$%d\r\n%s\r\n" % (len(GREETING), GREETING) * asked.count(b"\r\nINFO\r\n")
                connection.sendall(greeting or b"+OK\r\n" * asked.count(b"SETINFO") or self._answer)

    def close(self) -> None:
        for each in (self._listener, *self.connections):
            each.close()


class Proxy:
    """Stands before PostgreSQL and passes everything on, until it freezes: then it is connected and silent."""

    def __init__(self, server: tuple[str, int] | str) -> None:
        """`server`: host and port, or the path of a unix socket."""
        self.frozen = threading.Event()
        self._server = server
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = self._connected()
            self._open += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _connected(self) -> socket.socket:
        if not isinstance(self._server, str):
            return socket.create_connection(self._server)
        far = socket.socket(socket.AF_UNIX)
        far.connect(self._server)
        return far

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                while self.frozen.is_set():
                    time.sleep(0.01)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        self.frozen.clear()
        for each in (self._listener, *self._open):
            each.close()
