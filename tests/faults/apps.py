"""What a nemesis run calls: authsvc, and a stock Flask-Session beside it, each with a page that keeps things in
`flask.session`, slowly. Started by a WSGI server, with the settings of its environment."""

import os
import threading
import time
from typing import Any

from flask import Flask, jsonify, request, session
from flask.typing import ResponseReturnValue
from flask_session import Session
from redis import Redis

from authsvc.core.errors import RedisDown
from authsvc.core.settings import Settings
from authsvc.services import build
from authsvc.web.app import create_app
from authsvc.web.guards import required

SLOW = 0.02  # seconds between reading the session and writing it
MISSED = "X-Missed"  # the header of an answer that could not be brought into Redis


class Noting:
    """The store's door to Redis, which says of each request whether it failed; and the application around it."""

    def __init__(self, door: Any) -> None:
        self._door = door
        self._of_thread = threading.local()

    def execute(self, *commands: Any) -> Any:
        try:
            return self._door.execute(*commands)
        except RedisDown:
            self._of_thread.failed = True
            raise

    def around(self, app: Any) -> Any:
        def noted(environ: Any, start: Any) -> Any:
            self._of_thread.failed = False
            return app(environ, lambda status, headers, *more: start(status, headers + self._told(), *more))

        return noted

    def _told(self) -> list[tuple[str, str]]:
        return [(MISSED, "1")] if self._of_thread.failed else []


def ours() -> Flask:
    services = build(Settings.read())
    app = create_app(services)
    services.store.redis = noting = Noting(services.store.redis)  # type: ignore[assignment]
    app.wsgi_app = noting.around(app.wsgi_app)  # type: ignore[method-assign]

    @app.get("/kept")
    def kept() -> ResponseReturnValue:
        return jsonify(user=required().user, data=sorted(session))

    @app.post("/kept")
    def keep() -> ResponseReturnValue:
        own = required()
        time.sleep(SLOW)
        session[request.get_json()["key"]] = True
        return jsonify(user=own.user)

    return app


def stock() -> Flask:
    app = Flask("stock")
    redis = Redis.from_url(os.environ["AUTHSVC_REDIS_URL"], socket_timeout=1, socket_connect_timeout=1)
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis)
    Session(app)

    @app.get("/healthz")
    def healthz() -> str:
        return "alive"

    @app.post("/api/login")
    def login() -> ResponseReturnValue:
        session["user"] = request.get_json()["email"].partition("@")[0]
        return jsonify(user={"id": session["user"]}, session={"sid": ""})

    @app.post("/api/logout")
    def logout() -> ResponseReturnValue:
        session.clear()
        return "", 204

    @app.get("/api/session")
    def whoami() -> ResponseReturnValue:
        return jsonify(user={"id": session["user"]}) if "user" in session else ("", 401)

    @app.get("/kept")
    def kept() -> ResponseReturnValue:
        own = session.get("user")
        return jsonify(user=own, data=sorted(session.keys() - {"user"})) if own else ("", 401)

    @app.post("/kept")
    def keep() -> ResponseReturnValue:
        own = session.get("user")
        time.sleep(SLOW)
        if own:
            session[request.get_json()["key"]] = True
        return jsonify(user=own) if own else ("", 401)

    return app


app = stock() if os.environ.get("NEMESIS_STOCK") else ours()
