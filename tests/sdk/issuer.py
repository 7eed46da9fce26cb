"""An issuer of access tokens, small and real: discovery, keys, tokens, introspection and a feed over HTTP."""

import json
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from authsvc.core import jwt
from authsvc.core.crypto import new_id
from authsvc.core.jwt import SigningKey

AUDIENCE = "https://orders.example"
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
BEAT = 0.05  # seconds


class Issuer:
    """A test changes its attributes to have it rotate, refuse, stay silent or lie."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.key = jwt.generate(jwt.ES256)
        self.jwks: Any = jwt.jwks({self.key.kid: self.key.public})
        self.cache_control = "public, max-age=300, stale-while-revalidate=300"
        self.discovery: dict[str, Any] = {
            "issuer": url,
            "jwks_uri": f"{url}/.well-known/jwks.json",
            "token_endpoint": f"{url}/oauth/token",
            "introspection_endpoint": f"{url}/oauth/introspect",
        }
        self.down: set[str] = set()  # paths that answer 503
        self.inactive: set[str] = set()  # tokens
        self.mute = False
        self.feed_token = "for-the-feed"
        self.hits: Counter[str] = Counter()
        self.resumed_from: list[str | None] = []
        self._sent: list[str] = []
        self._listeners: list[queue.Queue[str | None]] = []
        self._lock = threading.Lock()

    def rotate(self) -> SigningKey:
        """A new key that signs from now on, beside those that are published."""
        self.key = jwt.generate(jwt.ES256)
        self.jwks = {"keys": [*self.jwks["keys"], self.key.public.jwk()]}
        return self.key

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Of a person's token; a change to None takes a claim away."""
        now = int(time.time())
        claims = {
            "iss": self.url, "sub": "anna", "aud": AUDIENCE, "exp": now + 300, "iat": now, "jti": new_id(),
            "client_id": "shop", "scope": "orders:read orders:write", "sid": "session-1", "gid": "grant-1",
            "auth_time": now - 60, "amr": ["pwd", "otp"], "acr": "aal2", "roles": ["clerk"], **changes,
        }  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, typ: str = jwt.ACCESS_TOKEN, key: SigningKey | None = None, **changes: Any) -> str:
        return jwt.sign(key or self.key, typ, self.claims(**changes))

    def security_event(self, kind: str, sub_id: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
        event = {"event_timestamp": int(time.time()), **event}
        return {
            "iss": self.url, "aud": self.url, "iat": int(time.time()), "jti": new_id(), "events": {CAEP + kind: event},
            "sub_id": sub_id,
        }  # fmt: skip

    def end_session(self, sid: str, grant: str | None = None) -> None:
        sub_id: dict[str, Any] = {"format": "complex", "user": {"format": "iss_sub", "iss": self.url, "sub": "anna"}}
        sub_id["session"] = {"format": "opaque", "id": sid}
        if grant:
            sub_id["grant"] = {"format": "opaque", "id": grant}
        self.tell(self.security_event("session-revoked", sub_id, {}))

    def change_roles(self, sub: str, *roles: str) -> None:
        sub_id = {"format": "iss_sub", "iss": self.url, "sub": sub}
        self.tell(self.security_event("token-claims-change", sub_id, {"claims": {"roles": list(roles)}}))

    def tell(self, claims: dict[str, Any], typ: str = jwt.SECURITY_EVENT, key: SigningKey | None = None) -> None:
        self.send("set", jwt.sign(key or self.key, typ, claims))

    def send(self, event: str, data: str = "{}") -> None:
        with self._lock:
            message = f"event: {event}\ndata: {data}\n\n"
            if event == "set":
                self._sent.append(message := f"id: run-{len(self._sent) + 1}\n{message}")
            for listener in self._listeners:
                listener.put(message)

    def cut(self) -> None:
        """End every stream."""
        with self._lock:
            for listener in self._listeners:
                listener.put(None)

    def listen(self, cursor: str | None) -> Iterator[str]:
        """What a stream carries, an empty string where nothing has happened for a while."""
        listener: queue.Queue[str | None] = queue.Queue()
        with self._lock:
            self.resumed_from.append(cursor)
            heard = int(cursor.removeprefix("run-")) if cursor else 0
            begin = [] if cursor else ["event: keys\ndata: {}\n\n"]
            missed = [*begin, *self._sent[heard:], "event: ready\ndata: {}\n\n"]
            self._listeners.append(listener)
        try:
            yield from missed
            while (message := self._next(listener)) is not None:
                yield message
        finally:
            self._listeners.remove(listener)

    @staticmethod
    def _next(listener: "queue.Queue[str | None]") -> str | None:
        try:
            return listener.get(timeout=BEAT)
        except queue.Empty:
            return ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    issuer: Issuer

    def do_GET(self) -> None:
        issuer = self.issuer
        self._answer({
            "/.well-known/oauth-authorization-server": issuer.discovery,
            "/.well-known/jwks.json": issuer.jwks,
        })  # fmt: skip

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        life = {"access_token": self.issuer.feed_token, "expires_in": 300}
        self._answer({
            "/oauth/token": life if form.get("scope") == "revocations" else None,
            "/oauth/introspect": {"active": form.get("token") not in self.issuer.inactive},
        })  # fmt: skip

    def _answer(self, documents: dict[str, Any]) -> None:
        self.issuer.hits[self.path] += 1
        if self.path in self.issuer.down or (self.path not in documents and self.path != "/revocations"):
            self._send(503, b"{}")
        elif self.path == "/revocations":
            self._stream()
        elif self.command == "POST" and self.headers["Authorization"] != "Basic b3JkZXJzOnNlY3JldA==":
            self._send(401, b"{}")
        else:
            document = documents[self.path]
            self._send(200, document if isinstance(document, bytes) else json.dumps(document).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", self.issuer.cache_control)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        if self.headers["Authorization"] != f"Bearer {self.issuer.feed_token}":
            return self._send(401, b"{}")
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for message in self.issuer.listen(self.headers["Last-Event-ID"]):
            try:
                if not self.issuer.mute:
                    self.wfile.write(message.encode() or b":\n\n")
            except OSError:  # the verifier has gone
                return None
        return None

    def log_message(self, *args: object) -> None:
        """Not wanted among the results."""


@contextmanager
def issuer() -> Iterator[Issuer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {}))
    made = Issuer(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass.issuer = made  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        made.cut()
        server.shutdown()
        thread.join()
        server.server_close()
