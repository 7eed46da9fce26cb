"""What the servers import: the web app, the bridge with its SQL loader, and both behind one port.

Imports stand in the functions, so that a web worker does not carry the bridge's libraries, nor the bridge the web's.
"""
# ruff: noqa: PLC0415

import asyncio
import os
import socket
import string
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from authsvc.core.settings import Settings

if TYPE_CHECKING:
    from flask import Flask
    from quart import Quart

    from authsvc.core.store import Found
    from authsvc.services import Services

BRIDGE_PATHS = frozenset({"/ws", "/events", "/revocations"})
NOT_FOUND = 4404  # close code of a socket on any other path
STOP_WITHIN = 3  # seconds for the processes of `authsvc web`


def web_app(settings: Settings) -> "Flask":
    from authsvc.services import build
    from authsvc.web.app import create_app

    return create_app(build(settings))


def bridge_app(settings: Settings) -> "Quart":
    """The bridge, with what it needs of SQL. Sessions are asked for all the time; the rest, for verifiers, is seldom
    wanted, and signed in a thread."""
    from authsvc.core.crypto import Keyring
    from authsvc.db import AsyncDatabase, Database
    from authsvc.domain.keys import Keys
    from authsvc.domain.revocations import Revocations
    from authsvc.domain.sessions import find, found
    from bridge.app import create_app
    from bridge.parts import Loaders

    db, seldom = AsyncDatabase(settings.sql_url), Database(settings.sql_url)
    keys = Keys(seldom, Keyring(settings.keys), settings, time.time)
    recent = Revocations(seldom, keys, settings, time.time).recent

    async def load(sid: str) -> "Found":
        async with db.reading() as sql:
            return found((await sql.execute(find(sid))).one_or_none(), settings)

    app = create_app(
        settings, Loaders(load, partial(asyncio.to_thread, keys.public), partial(asyncio.to_thread, recent))
    )
    app.after_serving(db.close)
    app.after_serving(seldom.close)
    return app


def one_port(services: "Services") -> "OnePort":
    """Web and bridge in one process. Closes the services when the server stops."""
    from authsvc.web.app import create_app

    live = bridge_app(services.settings)
    live.after_serving(services.close)
    return OnePort(create_app(services), live, services.settings.web_threads)


class OnePort:
    """An ASGI application: sockets, streams and the lifespan are the bridge's, the rest is the web's."""

    def __init__(self, web: Any, live: Any, threads: int) -> None:
        from a2wsgi import WSGIMiddleware

        self._web: Any = WSGIMiddleware(with_whole_bodies(web), workers=threads)
        self._live = live

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" or scope["path"] in BRIDGE_PATHS:
            await self._live(scope, receive, send)
        elif scope["type"] == "websocket":
            await refuse_socket(receive, send)
        else:
            await self._web(for_wsgi(scope), receive, send)


def for_wsgi(scope: dict[str, Any]) -> dict[str, Any]:
    """The request as WSGI can take it: an ASCII query, and no header with an underscore, for WSGI could not tell
    `X_Forwarded_For` from the header that a proxy has set."""
    headers = [(name, value) for name, value in scope["headers"] if b"_" not in name]
    return {**scope, "headers": headers, "query_string": quote(scope["query_string"], safe=string.punctuation).encode()}


def with_whole_bodies(web: Any) -> Any:
    """A body of unknown length ends where the server says so, or Flask would take it for empty."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if "CONTENT_LENGTH" not in environ:
            environ["wsgi.input_terminated"] = True
        return web(environ, start_response)

    return app


async def refuse_socket(receive: Any, send: Any) -> None:
    """There is no socket on this path. Accepted first, for only then does a browser tell its page the code."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": NOT_FOUND, "reason": "not_found"})


def run_asgi(
    app: Any, settings: Settings, listener: socket.socket, *, at_stop: Callable[[], None] | None = None
) -> None:
    """Serve until SIGINT or SIGTERM. `at_stop` is called when one has come and open connections begin to be closed."""
    import uvicorn

    from bridge.server import uvicorn_options

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            if at_stop:
                at_stop()
            await super().shutdown(sockets)

    config = uvicorn.Config(app, log_config=None, **uvicorn_options(settings.heartbeat))
    Server(config).run(sockets=[listener])


def run_wsgi(settings: Settings) -> None:
    """Serve the web app until SIGINT or SIGTERM: `web_workers` processes of `web_threads` threads each."""
    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    server = Granian(
        "authsvc", settings.host, settings.port, interface=Interfaces.WSGI, websockets=False,
        workers=settings.web_workers, blocking_threads=settings.web_threads, respawn_failed_workers=True,
        workers_kill_timeout=STOP_WITHIN, log_level=LogLevels.error,
    )  # fmt: skip
    server.serve(target_loader=partial(_in_worker, settings), wrap_loader=False)


def _in_worker(settings: Settings) -> "Flask":
    os.setpgid(0, 0)  # Ctrl-C is for the main process: a worker that gets a second signal from that one hangs
    return web_app(settings)
