"""The operations port, served on loopback by a thread of the process that a command has started."""
# ruff: noqa: PLC0415 - what counts may be imported only when the folder of the figures is known

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from authsvc.core.errors import Misconfigured
from authsvc.core.settings import Settings

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name for it
LOOPBACK = "127.0.0.1"
POLL = 0.1  # seconds by which a stop may be late
PATIENCE = 5  # seconds for a client to write its request


@contextmanager
def served(settings: Settings, figures: Path | None = None, mails: Path | None = None) -> Iterator[None]:
    """Answer operators while the block runs, if there is an operations port. Enter it before anything that counts is
    imported: from then on this process and its children count in files of the folder `figures`, which begins empty.
    Raises Misconfigured if somebody else has the port."""
    if not settings.ops_port:
        yield
        return
    with listen(LOOPBACK, settings.ops_port, "AUTHSVC_OPS_PORT") as listener, _empty(figures) as folder:
        os.environ[FOLDER] = str(folder)
        server = _server(settings, listener, folder, mails)
        thread = threading.Thread(target=server.serve_forever, args=(POLL,), name="operations", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            del os.environ[FOLDER]


def listen(host: str, port: int, variable: str) -> socket.socket:
    """Raises Misconfigured if somebody else has the port; `variable` is the setting that names it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0]
        raise Misconfigured(f"Cannot listen on {host}, port {port}: {why}. Set {variable} to another.") from None


@contextmanager
def _empty(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="authsvc-metrics-") as made:
            yield Path(made)
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _server(settings: Settings, listener: socket.socket, figures: Path, mails: Path | None) -> Any:
    from werkzeug.serving import WSGIRequestHandler, make_server

    from authsvc.operations import create_app

    class Handler(WSGIRequestHandler):
        timeout = PATIENCE

        def log_request(self, *_: object) -> None:
            """Who looks is not worth a line."""

    app = Undisturbed(create_app(settings, figures, mails))
    return make_server(LOOPBACK, settings.ops_port, app, threaded=True, request_handler=Handler, fd=listener.fileno())


class Undisturbed:
    """One request at a time, and none while this process forks: no child is born with a lock of ours taken for ever."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._held = threading.Lock()
        held = self._held
        os.register_at_fork(before=held.acquire, after_in_parent=held.release, after_in_child=held.release)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        with self._held:
            return self._app(environ, start_response)
