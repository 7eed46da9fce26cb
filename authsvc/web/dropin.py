"""What `authsvc.flask` and `authsvc.quart` share: the session of a request to somebody else's application, our store.

The application reads who is logged in, and keeps things of its own in the session. Logging in and out, and the cookie,
are authsvc's. See docs/drop-in.md.
"""

import json
from contextlib import suppress
from typing import Any, NamedTuple

from authsvc.core.crypto import token_of
from authsvc.core.errors import AuthsvcError, Misconfigured, Unauthenticated
from authsvc.core.settings import Settings
from authsvc.services import build
from authsvc.web.cookie import CookieSession
from authsvc.web.errors import STATUS, headers, problem


class User(NamedTuple):
    """Who is logged in. `id` is opaque and never changes."""

    id: str
    email: str
    name: str
    roles: tuple[str, ...]


class AppSession(CookieSession):
    """`flask.session` and `quart.session` of an application: a mapping of its own keys, and `user`."""

    failure: AuthsvcError | None = None  # why it could not be read beforehand

    @property
    def user(self) -> User | None:
        """Who is logged in, or None. Raises StorageDown when nobody can tell."""
        own = self.record
        return User(own.user, own.email, own.name, own.roles) if own else None

    def load(self) -> None:
        if self.failure:
            raise self.failure
        try:
            super().load()
        except AuthsvcError as error:
            self.failure = error
            raise

    def load_beforehand(self) -> None:
        """Whoever looks at it afterwards need not wait, and meets the error if there was one."""
        with suppress(AuthsvcError):
            self.load()

    def __setitem__(self, key: str, value: Any) -> None:
        if self.record is None:
            raise Unauthenticated
        super().__setitem__(key, value)

    @property
    def permanent(self) -> bool:
        """How long a session lives is authsvc's to say: whatever an application sets here is passed over."""
        return False

    @permanent.setter
    def permanent(self, value: bool) -> None: ...


class DropIn:
    """Connects to nothing yet. `name` tells the keys of one application from those of another."""

    def __init__(self, settings: Settings | None, name: str) -> None:
        if not name or ":" in name:
            raise Misconfigured(f"An application's name is not empty and has no colon in it: {name!r}.")
        self.services = build((settings or Settings.read()).for_storage())
        self._prefix = f"{name}:"

    def session(self, cookies: str) -> AppSession:
        """The session of a request with that Cookie header, not read yet."""
        services = self.services
        token = token_of(services.keyring, cookies, services.settings.cookie_name)
        return AppSession(token, services.sessions.load, self._prefix)

    def save(self, session: AppSession) -> None:
        """Write what the request has changed, if the session lives. Raises StorageDown, BadRequest or Unavailable."""
        changed, removed = session.changes()
        if session.record and (changed or removed):
            self.services.sessions.save(session.record, changed, removed)


def answer(error: AuthsvcError) -> tuple[str, int, dict[str, str]]:
    """An error as body, status and headers, for either framework (RFC 9457)."""
    told = {"Content-Type": "application/problem+json", "Cache-Control": "no-store", **headers(error)}
    return json.dumps(problem(error)) + "\n", STATUS[type(error)], told


def finish(response: Any, session: AppSession, failure: AuthsvcError | None) -> None:
    """An answer that depends on who asks says so to caches. One whose session could not be saved says that instead, and
    so does one that was made without knowing who asks."""
    if session.opened:
        response.vary.add("Cookie")
        response.headers.setdefault("Cache-Control", "no-store")
    if session.opened and session.failure and response.status_code < 500:
        failure = session.failure
    if failure:
        body, response.status_code, told = answer(failure)
        response.set_data(body)
        response.headers.update(told)
        for name in ("Location", "Set-Cookie", "Content-Encoding"):
            response.headers.remove(name)
