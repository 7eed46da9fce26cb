"""`AuthSession(app)`: who is logged in at authsvc, and an application's own keys, in `flask.session`.

from authsvc.flask import AuthSession
from flask import Flask, session

app = Flask(__name__)
AuthSession(app)  # settings from AUTHSVC_*, the same as authsvc's own

@app.get("/")
def page():
    return f"Hello {session.user.email}" if session.user else "Hello stranger"
"""

from flask import Flask, Request, Response
from flask.sessions import SessionInterface

from authsvc.core.errors import AuthsvcError
from authsvc.core.settings import Settings
from authsvc.web.dropin import AppSession, DropIn, User, answer, finish

__all__ = ["AppSession", "AuthSession", "User"]


class AuthSession:
    """`name` tells this application's keys from another's in the same session; by default it is the Flask app's."""

    def __init__(self, app: Flask | None = None, *, settings: Settings | None = None, name: str | None = None) -> None:
        self._settings = settings
        self._name = name
        if app:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Raises Misconfigured, with a sentence that names the variable."""
        dropin = DropIn(self._settings, app.name if self._name is None else self._name)
        app.extensions["authsvc.session"] = dropin
        app.session_interface = _Interface(dropin)
        app.register_error_handler(AuthsvcError, answer)


class _Interface(SessionInterface):
    """Opened at first use: a request that does not look at its session touches no store."""

    def __init__(self, dropin: DropIn) -> None:
        self._dropin = dropin

    def open_session(self, app: Flask, request: Request) -> AppSession:  # noqa: ARG002 - Flask's signature
        return self._dropin.session(request.environ.get("HTTP_COOKIE", ""))

    def save_session(self, app: Flask, session: AppSession, response: Response) -> None:  # type: ignore[override]  # noqa: ARG002
        failure = None
        try:
            if session.opened:
                self._dropin.save(session)
        except AuthsvcError as error:  # what the answer says is not true then
            failure = error
        finish(response, session, failure)
