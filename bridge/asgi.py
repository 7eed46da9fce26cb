"""Between Quart and the server. Quart routes a request and decides on it; an open connection is then ours alone: one
task, and nothing of its handshake is kept."""

from collections.abc import Awaitable, Callable
from typing import Any

from quart import Response, Websocket
from quart.asgi import ASGIHTTPConnection, ASGIWebsocketConnection
from quart.utils import encode_headers

Run = Callable[[Any, Any], Awaitable[None]]  # takes ASGI's receive and send


class Handshake(Websocket):
    """A view puts there what is to be done with the connection."""

    run: Run | None = None


class WebsocketConnection(ASGIWebsocketConnection):
    """Quart's own reads ahead of the view without a bound, dies of an empty message, and loses the close code."""

    async def __call__(self, receive: Any, send: Any) -> None:
        handshake: Any = self._create_websocket_from_scope(send)
        await self.handle_websocket(handshake, send)
        run: Run | None = handshake.run
        del handshake, self.queue
        if run:
            _forget_headers(self.scope)
            await run(receive, send)


class TakenOver(Response):
    """An answer whose body is sent by `run`, until that returns."""

    def __init__(self, run: Run, headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        self.run = run


class HTTPConnection(ASGIHTTPConnection):
    """No route here reads a body, so none is read; the server throws it away."""

    async def __call__(self, receive: Any, send: Any) -> None:
        response = await self.app.handle_request(self._create_request_from_scope(send))
        if not isinstance(response, TakenOver):
            await self._send_response(send, response)
            return
        run, headers = response.run, encode_headers(response.headers)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        del response, headers
        _forget_headers(self.scope)
        await run(receive, send)


def _forget_headers(scope: Any) -> None:
    """2 KiB of each connection; emptied in place, for the server has the same list."""
    scope["headers"].clear()
