"""uvicorn as the bridge needs it: nobody keeps a connection that has ended, and nothing secret gets into a log.

Both protocols put `authsvc.abort` into the scope's extensions: call it to cut the connection. A stream puts there
`authsvc.shutdown`, to be called when the server stops.
"""

import asyncio
import socket
import struct
from functools import partial
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from bridge.protocol import FRAME_LIMIT, Close

CLOSE_TIMEOUT = 1.0  # seconds for the peer to take our last bytes and to answer our close
FRAGMENTS = 64  # parts of one message
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds, socket(7)


def uvicorn_options(heartbeat: float = 15.0) -> dict[str, Any]:
    """What `uvicorn.Config` needs to serve the bridge. `heartbeat`: seconds between two pings of a socket, and for the
    answer to one."""
    return {
        "ws": SocketProtocol,
        "http": HttpProtocol,
        "loop": "uvloop",
        "lifespan": "on",
        "ws_max_size": FRAME_LIMIT,
        "ws_per_message_deflate": False,  # it costs 100 KiB a socket
        "ws_ping_interval": heartbeat,
        "ws_ping_timeout": heartbeat,
        "timeout_graceful_shutdown": 2,
        "access_log": False,
        "log_level": "warning",  # at `info` uvicorn logs the query string of every socket
        "server_header": False,
        "date_header": True,
        "proxy_headers": False,
    }


def cut(protocol: "SocketProtocol | HttpProtocol") -> None:
    """End a connection at once: what is not sent yet is thrown away, also by the kernel, and the peer sees a reset."""
    if protocol in protocol.connections:  # else it is lost already, and its descriptor may be another's
        protocol.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        protocol.transport.abort()


async def answer(cycle: RequestResponseCycle, app: Any, scope: Any, receive: Any, send: Any) -> None:
    """A client that has gone is no fault of the application, though uvloop raises at the next write to it, which may
    come before uvicorn has heard."""
    try:
        await app(scope, receive, send)
    except RuntimeError:
        if not cycle.transport.is_closing():
            raise
        cycle.disconnected = True


class HttpProtocol(HttpToolsProtocol):
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, partial(answer, cycle, app))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: Any = {"authsvc.abort": partial(cut, self)}
        self.scope["extensions"] = extensions

    def shutdown(self) -> None:
        super().shutdown()
        extensions: Any = self.scope["extensions"] if self.scope else {}
        if end_stream := extensions.get("authsvc.shutdown"):
            end_stream()


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's waits 10 s for a client that ignores a close, and for ever for one that does not read."""

    _last_call: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._last_call:
            self._last_call.cancel()

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated and not self.handshake_complete:
            cut(self)  # a client must wait for the answer to its handshake (RFC 6455, 4.1)
            return
        super().data_received(data)
        if self.conn.handshake_exc:  # uvicorn forgets to answer
            self._end_handshake()
        self._limit_the_close()

    def handle_connect(self, event: Request) -> None:
        if event.path.isascii() and event.path.startswith("/"):
            super().handle_connect(event)
            if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                extensions: Any = self.scope["extensions"]
                extensions["authsvc.abort"] = partial(cut, self)
        else:
            self.conn.send_response(self.conn.reject(HTTPStatus.BAD_REQUEST, "Not a path.\n"))
            self._end_handshake()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= FRAGMENTS:
            self._fail(Close.TOO_BIG)
        else:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            cut(self)  # it asks for answers and does not read them

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
            self._fail(Close.BAD_DATA)
        else:
            super().send_receive_event_to_app()

    def keepalive_timeout(self) -> None:
        self.pong_timer = None
        self._fail(Close.TIMEOUT)

    def shutdown(self) -> None:
        super().shutdown()
        self._limit_the_close()

    async def send(self, message: Any) -> None:
        if self.transport.is_closing():
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.accept":
            self.request.headers.clear()  # 3 KiB that nobody reads any more
            del self.response
        if self.close_sent:
            self.handshake_complete = True  # also by an answer that was a refusal, or uvicorn logs an error
        self._limit_the_close()

    def _fail(self, why: Close) -> None:
        if not self.close_sent and not self.transport.is_closing():
            self.conn.fail(why, why.reason)
            self.handle_parser_exception()
        self._limit_the_close()

    def _end_handshake(self) -> None:
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def _limit_the_close(self) -> None:
        if self._last_call is None and (self.close_sent or self.transport.is_closing()):
            self._last_call = self.loop.call_later(CLOSE_TIMEOUT, cut, self)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
