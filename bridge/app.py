"""The bridge as a Quart application: `/ws`, `/events`, `/revocations`, and what runs beside them."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from typing import Any

from quart import Quart, Response, request, websocket
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.routing import MapAdapter

from authsvc.core import request_ids
from authsvc.core.settings import Settings
from authsvc.core.store import Clock
from bridge import errors, parts, revocations, sse, ws
from bridge.asgi import Handshake, HTTPConnection, WebsocketConnection
from bridge.parts import Loaders
from bridge.sweep import AT_ONCE

log = logging.getLogger(__name__)


class Bridge(Quart):
    asgi_http_class = HTTPConnection
    asgi_websocket_class = WebsocketConnection
    websocket_class = Handshake
    behind_proxy = False  # whether the id of a request may come from the one in front of us

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            sent = dict(scope["headers"]).get(b"x-request-id", b"") if self.behind_proxy else b""
            request_ids.begin(sent.decode("latin-1"))
        await super().__call__(scope, receive, send)

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """Routes by path alone. Quart also looks at the `Host` header and the query, and dies of odd ones."""
        if request is None:
            return None
        return self.url_map.bind("bridge", None, None, request.scheme, request.method, request.path)


def create_app(settings: Settings, load: Loaders, clock: Clock = time.time) -> Quart:
    app = Bridge("bridge", static_folder=None)
    bridge = parts.build(settings, load, clock)
    app.extensions["bridge"] = bridge
    app.behind_proxy = bool(settings.trusted_proxies)
    errors.install(app, settings)

    @app.websocket("/ws")
    async def socket() -> None:
        ws.decide(websocket._get_current_object(), bridge)  # type: ignore[attr-defined]  # noqa: SLF001

    @app.get("/events", provide_automatic_options=False)
    async def events() -> Response:
        return await sse.serve(request._get_current_object(), bridge)  # type: ignore[attr-defined]  # noqa: SLF001

    @app.get("/revocations", provide_automatic_options=False)
    async def feed() -> Response:
        return await revocations.serve(request._get_current_object(), bridge)  # type: ignore[attr-defined]  # noqa: SLF001

    @app.while_serving
    async def live() -> AsyncGenerator[None]:
        runs = [bridge.broker.run, bridge.feed.run, bridge.sweep.watch, *[bridge.sweep.work] * AT_ONCE]
        tasks = [asyncio.create_task(_always(run)) for run in runs]
        yield
        await _stop(tasks)
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


async def _stop(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel them until they have ended: on Python 3.11 `asyncio.wait_for`, which redis-py uses, swallows some."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=0.5)
