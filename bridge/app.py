"""The bridge as a Quart application: `/ws`, `/events`, and what runs beside them."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from quart import Quart, Response, request, websocket

from authsvc.core.settings import Settings
from authsvc.core.store import Clock, Loader
from bridge import errors, parts, sse, ws
from bridge.asgi import Handshake, HTTPConnection, WebsocketConnection

log = logging.getLogger(__name__)


def create_app(settings: Settings, load: Loader, clock: Clock = time.time) -> Quart:
    """`load` reads a session's row from SQL: it returns Found, or raises StorageDown."""
    app = Quart("bridge", static_folder=None)
    app.asgi_http_class = HTTPConnection
    app.asgi_websocket_class = WebsocketConnection
    app.websocket_class = Handshake
    bridge = parts.build(settings, load, clock)
    app.extensions["bridge"] = bridge
    errors.install(app, settings)

    @app.websocket("/ws")
    async def socket() -> None:
        ws.decide(websocket._get_current_object(), bridge)  # type: ignore[attr-defined]  # noqa: SLF001

    @app.get("/events", provide_automatic_options=False)
    async def events() -> Response:
        return await sse.serve(request._get_current_object(), bridge)  # type: ignore[attr-defined]  # noqa: SLF001

    @app.while_serving
    async def live() -> AsyncGenerator[None]:
        tasks = [asyncio.create_task(_always(run)) for run in (bridge.broker.run, bridge.sweep.run)]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bridge.redis.close()

    return app


async def _always(run: Callable[[], Awaitable[None]]) -> None:
    """A fault in it must not end it: sessions would then outlive their end."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("starting again")
        await asyncio.sleep(1)
