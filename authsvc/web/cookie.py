"""`flask.session` on our store: opened at first use, saved by the session protocol, carried by one cookie.

A subclass of Flask-Session's interface. Its storage hooks write back what they once read, which undoes a logout that
came between; so they are closed, and reading and writing go through domain/sessions.py.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from flask import Flask, Request, Response
from flask.sessions import SessionMixin
from flask_session.base import ServerSideSessionInterface

from authsvc.core import session as rules
from authsvc.core.crypto import Token, device_cookie, token_of, write_token
from authsvc.core.errors import AuthsvcError
from authsvc.core.session import Session
from authsvc.services import Services
from authsvc.web.errors import turn_into

PERSONAL = [("Vary", "Cookie"), ("Cache-Control", "no-store")]
DEVICE_LIFE = 400 * 86400  # seconds; the longest that browsers keep a cookie


class CookieSession(SessionMixin):
    """The session of a request. As a mapping it holds those of the session's data whose keys begin with `prefix`; a
    stranger's is empty and cannot be written: anonymous visitors get no session.

    `record` is the live session or None; to ask for it, or for any key, opens it. `begin` and `forget` say what happens
    to the cookie.
    """

    def __init__(self, token: Token | None, load: Callable[[Token], Session | None], prefix: str = "") -> None:
        self.token = token
        self.opened = False
        self.issued: tuple[Session, Token, bool] | None = None
        self.forgotten = False
        self._load = load
        self._prefix = prefix
        self._loaded = False
        self._record: Session | None = None
        self._data: dict[str, Any] = {}
        self._before: dict[str, str] = {}

    @property
    def record(self) -> Session | None:
        self.opened = True
        self.load()
        return self._record

    def load(self) -> None:
        """Read it from the store, once. Raises StorageDown."""
        if self._loaded:
            return
        self._record = self._load(self.token) if self.token else None
        whole = self._record.data if self._record else {}
        self._data = {key[len(self._prefix) :]: value for key, value in whole.items() if key.startswith(self._prefix)}
        self._before = {key: _frozen(value) for key, value in self._data.items()}
        self._loaded = True

    def begin(self, session: Session, token: Token, *, remember: bool) -> None:
        """A login: the answer carries this session's cookie."""
        self.issued = (session, token, remember)
        self._record, self._data, self._before = session, dict(session.data), {}
        self.opened = self._loaded = True

    def renew(self, token: Token, *, remember: bool) -> None:
        """The session goes on under a new token, which the answer carries."""
        if self.record:
            self.issued = (self.record, token, remember)

    def forget(self) -> None:
        """A logout: the answer takes the cookie away."""
        self.forgotten = True
        self._record, self._data, self._before = None, {}, {}
        self.opened = self._loaded = True

    def changes(self) -> tuple[dict[str, Any], frozenset[str]]:
        """The keys that this request has set, also those changed in place, and the keys that it removed."""
        changed = {key: value for key, value in self._data.items() if self._before.get(key) != _frozen(value)}
        removed = self._before.keys() - self._data.keys()
        return {self._prefix + key: value for key, value in changed.items()}, frozenset(
            self._prefix + k for k in removed
        )

    def __getitem__(self, key: str) -> Any:
        return self._opened()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if self.record is None:
            raise RuntimeError("Nobody is logged in, and strangers have no session to write to.")
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        del self._opened()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._opened())

    def __len__(self) -> int:
        return len(self._opened())

    def _opened(self) -> dict[str, Any]:
        return self._data if self.record else {}


class SessionInterface(ServerSideSessionInterface):  # type: ignore[misc]  # it carries no types
    def __init__(self, app: Flask, services: Services) -> None:
        super().__init__(app, serialization_format="json")
        self._services = services
        self._settings = services.settings

    def open_session(self, app: Flask, request: Request) -> CookieSession:  # noqa: ARG002 - Flask's signature
        header = request.environ.get("HTTP_COOKIE", "")
        token = token_of(self._services.keyring, header, self._settings.cookie_name)
        return CookieSession(token, self._services.sessions.load)

    def save_session(self, app: Flask, session: CookieSession, response: Response) -> None:  # noqa: ARG002
        if not session.opened:
            return
        response.headers.extend(PERSONAL)
        if session.forgotten:
            self._clear_cookie(response)
        elif session.issued:
            self._set_cookies(response, *session.issued)
        try:
            self._save(session)
        except AuthsvcError as error:  # what the answer says is not true then
            turn_into(response, error)

    def _save(self, session: CookieSession) -> None:
        changed, removed = session.changes()
        if session.record and (changed or removed):
            self._services.sessions.save(session.record, changed, removed)

    def _set_cookies(self, response: Response, session: Session, token: Token, remember: bool) -> None:
        keyring, settings = self._services.keyring, self._settings
        life = rules.expires(session) - int(self._services.store.clock()) if remember else None
        self._cookie(response, settings.cookie_name, write_token(keyring, token), life)
        self._cookie(response, settings.device_cookie_name, device_cookie(keyring, session.user), DEVICE_LIFE)

    def _clear_cookie(self, response: Response) -> None:
        self._cookie(response, self._settings.cookie_name, "", 0)

    def _cookie(self, response: Response, name: str, value: str, max_age: int | None) -> None:
        response.set_cookie(
            name, value, max_age=max_age, path="/", secure=self._settings.cookie_secure, httponly=True, samesite="Lax"
        )

    def _closed(self, *_: object) -> NoReturn:
        raise TypeError("Sessions are read and written by domain/sessions.py alone.")

    _retrieve_session_data = _upsert_session = _delete_session = regenerate = _closed


def _frozen(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
