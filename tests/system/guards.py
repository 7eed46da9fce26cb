"""An application behind real proxies that ask the service about each request, with the files of `deploy/`."""

import json
import shutil
import socket
import sqlite3
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import redis

from tests.servers import free_port
from tests.system.browser import Browser
from tests.system.parts import certificate, installed, site
from tests.system.stack import Run, Server

DEPLOY = Path(__file__).parents[2] / "deploy"
HEADERS = ("X-Auth-User", "X-Auth-Email", "X-Auth-Name", "X-Auth-Roles", "X-Auth-Session", "X-Auth-Amr")


class Application:
    """What stands behind: it answers what it was asked, and remembers it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, list[tuple[str, str]]]] = []
        app = self

        class Handler(BaseHTTPRequestHandler):
            def __getattr__(self, name: str) -> Callable[[], None]:
                if not name.startswith("do_"):
                    raise AttributeError(name)
                return self._echo

            def _echo(self) -> None:
                app.seen.append((self.command, self.path, list(self.headers.items())))
                body = json.dumps(dict(self.headers)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """It is quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Guarded:
    def __init__(self, run: Run, app: Application) -> None:
        self.run = run
        self.app = app
        self.port = int(run.url.rpartition(":")[2])

    @cached_property
    def email(self) -> str:
        """Of somebody who may log in."""
        return self.run.new_user()

    def ask(self, head: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request as it stands; its status (0: the connection was closed without one), and the whole answer."""
        assert self.run.tls
        with (
            closing(socket.create_connection(("127.0.0.1", self.port), timeout=10)) as plain,
            self.run.tls.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            text = head.replace("\n", "\r\n").replace("\r\r", "\r")
            whole = f"{text}\r\nHost: 127.0.0.1:{self.port}\r\nConnection: close\r\n\r\n".encode("latin-1") + body
            answer = b""
            try:
                connection.sendall(whole)
                while part := connection.recv(65536):
                    answer += part
            except (ConnectionResetError, ssl.SSLError):
                pass
        return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0, answer

    def cookie(self, browser: Browser) -> str:
        return f"Cookie: {self.run.cookie_name}={browser.token}"


@contextmanager
def guarding(proxy: str) -> Iterator[Guarded]:
    """The service and an application behind a proxy: `nginx`, `caddy` or `haproxy`."""
    folder = Path(tempfile.mkdtemp(prefix="authsvc-"))
    app, port = Application(), free_port()
    run = Run(folder, public_url=f"https://127.0.0.1:{port}", trusted_proxies=1)
    run.url, run.tls = f"https://127.0.0.1:{port}", certificate(folder)
    server = {"nginx": nginx, "caddy": caddy, "haproxy": haproxy}[proxy](folder, port, run, app)
    try:
        yield Guarded(run.start(), app)
    finally:
        server.kill()
        run.end()
        app.server.shutdown()
        app.server.server_close()
        shutil.rmtree(folder)


def nginx(folder: Path, port: int, run: Run, app: Application) -> Server:
    files = [DEPLOY / "guard.nginx.conf", DEPLOY / "bearer.nginx.conf"]
    guard = "".join(file.read_text() for file in files).replace("127.0.0.1:3000", f"127.0.0.1:{app.port}")
    conf = site(folder, port, run.port, run.port, inside=guard)
    return Server(
        (installed("nginx"), "-p", str(folder), "-e", str(folder / "nginx.log"), "-c", str(conf)), folder / "n.log"
    )


def caddy(folder: Path, port: int, run: Run, app: Application) -> Server:
    tls = f"https://127.0.0.1:{port} {{\n\ttls {folder}/certificate.pem {folder}/key.pem\n"
    conf = with_addresses(DEPLOY / "Caddyfile", run, app, {"login.example.org {\n": tls})
    path = folder / "Caddyfile"
    path.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + conf)
    return Server((installed("caddy"), "run", "--adapter", "caddyfile", "--config", str(path)), folder / "caddy.log")


def haproxy(folder: Path, port: int, run: Run, app: Application) -> Server:
    bind = {":443 ssl crt login.example.org.pem": f"127.0.0.1:{port} ssl crt both.pem"}
    (folder / "both.pem").write_text((folder / "certificate.pem").read_text() + (folder / "key.pem").read_text())
    (folder / "haproxy.cfg").write_text(with_addresses(DEPLOY / "guard.haproxy.cfg", run, app, bind))
    shutil.copy(DEPLOY / "guard.haproxy.lua", folder)
    return Server((installed("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")), folder / "haproxy.log")


def with_addresses(file: Path, run: Run, app: Application, more: dict[str, str]) -> str:
    """A file of `deploy/`, with the addresses of this test in place of its own."""
    own = f"127.0.0.1:{run.port}"
    changes = {"127.0.0.1:8001": own, "127.0.0.1:8002": own, "127.0.0.1:3000": f"127.0.0.1:{app.port}"}
    conf = file.read_text()
    for wanted, instead in {**more, **changes}.items():
        assert wanted in conf
        conf = conf.replace(wanted, instead)
    return conf


def what_it_was_told(answer: httpx.Response) -> dict[str, str | None]:
    """Our headers in what the application has echoed; HAProxy writes every name in small letters."""
    headers = {name.lower(): value for name, value in answer.json().items()}
    return {name: headers.get(name.lower()) for name in HEADERS}


@contextmanager
def without_stores(run: Run) -> Iterator[None]:
    """SQL does not find the sessions, and Redis has forgotten them."""
    with closing(sqlite3.connect(run.database_url.removeprefix("sqlite:///"), timeout=10)) as sql:
        sql.execute("ALTER TABLE sessions RENAME TO elsewhere")
        sql.commit()
        with closing(redis.Redis(**run.redis_options)) as client:
            client.flushdb()
        yield
        sql.execute("ALTER TABLE elsewhere RENAME TO sessions")
        sql.commit()
