"""`AuthSession(app)`: who is logged in at authsvc, and an application's own keys, in `quart.session`.

The twin of `authsvc.flask`. `quart.session` is read without awaiting, so it is loaded beforehand: for each request that
carries a cookie of ours, and for no other. Store and database are asked in a thread, by the very code that Flask uses.
"""

import asyncio
from typing import Any

from quart import Quart, Response
from quart.sessions import SessionInterface

from authsvc.core.errors import AuthsvcError
from authsvc.core.settings import Settings
from authsvc.web.dropin import AppSession, DropIn, User, answer, finish

__all__ = ["AppSession", "AuthSession", "User"]


class AuthSession:
    """`name` tells this application's keys from another's in the same session; by default it is the Quart app's."""

    def __init__(self, app: Quart | None = None, *, settings: Settings | None = None, name: str | None = None) -> None:
        self._settings = settings
        self._name = name
        if app:
            self.init_app(app)

    def init_app(self, app: Quart) -> None:
        """Raises Misconfigured, with a sentence that names the variable."""
        dropin = DropIn(self._settings, app.name if self._name is None else self._name)
        app.extensions["authsvc.session"] = dropin
        app.session_interface = _Interface(dropin)  # type: ignore[assignment]  # typed as the default one
        app.register_error_handler(AuthsvcError, answer)


class _Interface(SessionInterface):
    def __init__(self, dropin: DropIn) -> None:
        self._dropin = dropin

    async def open_session(self, app: Quart, request: Any) -> AppSession:  # noqa: ARG002 - Quart's signature
        session = self._dropin.session("; ".join(request.headers.getlist("Cookie")))
        if session.token:
            await asyncio.to_thread(session.load_beforehand)
        return session

    async def save_session(self, app: Quart, session: AppSession, response: Response | None) -> None:  # type: ignore[override]  # noqa: ARG002
        """After a WebSocket no answer is left to change: a save that fails then is raised, and logged by Quart."""
        failure = None
        try:
            if session.opened and any(session.changes()):
                await asyncio.to_thread(self._dropin.save, session)
        except AuthsvcError as error:
            failure = error
        if response is not None:
            finish(response, session, failure)
        elif failure:
            raise failure
