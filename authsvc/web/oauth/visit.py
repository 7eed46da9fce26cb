"""A browser at the authorization endpoint: what it was sent for, and the way back here from the login.

Where a client asks for a fresh login, the way back carries since when: a time in our hand, and a tag over it and the
whole request. Only a login after that time passes, so nobody skips it by hand; and as that time must not be long ago,
neither does a way back that lies in a browser's history.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from werkzeug.datastructures import MultiDict

from authsvc.core import session as rules
from authsvc.core.crypto import b64url, unb64url
from authsvc.core.errors import BadRequest
from authsvc.core.session import Session
from authsvc.web.guards import services
from authsvc.web.oauth.request import Wanted, read
from authsvc.web.pages.show import AUTHORIZE, now
from authsvc.web.paths import LONGEST_PATH

SINCE = "since"
PURPOSE = "fresh login"
TIME_TO_LOG_IN = 600  # seconds
ROOM = 200  # characters, for path and tag


@dataclass(frozen=True, slots=True)
class Visit:
    """`query` is the request without our own mark; `since` a unix second, after which a login is fresh."""

    wanted: Wanted
    query: str
    since: int | None

    @property
    def path(self) -> str:
        """The way back here."""
        return f"{AUTHORIZE}?{self.query}"

    @property
    def whole(self) -> str:
        """The query with our mark, if there was one, as our own form brings it back."""
        return self.query if self.since is None else _marked(self.query, self.since)

    def proved(self, own: Session) -> bool:
        """Whether the login is as fresh as the client asks for."""
        if self.since is not None and own.authenticated >= self.since:
            return True
        max_age = 0 if "login" in self.wanted.prompt else self.wanted.max_age
        return max_age is None or (max_age > 0 and rules.fresh(own, now(), max_age))

    def to_login(self) -> str:
        """The login page, which leads back here."""
        hint = self.wanted.login_hint
        return f"/login?next={self._back()}" + (f"&email={quote(hint, safe='@')}" if "@" in hint else "")

    def to_proof(self) -> str:
        """The page where somebody who is logged in proves it anew, which leads back here."""
        return f"/reauthenticate?next={self._back()}"

    def _back(self) -> str:
        return quote(f"{AUTHORIZE}?{_marked(self.query, now())}", safe="/")


def arrived(asked: MultiDict[str, str]) -> Visit:
    """Raises ClientRefused, BadRequest, or an OAuth2Error with the address that it goes to."""
    pairs = MultiDict[str, str]((name, value) for name, value in asked.items(multi=True) if name != SINCE)
    query = urlencode(list(pairs.items(multi=True)))
    if len(query) > LONGEST_PATH - ROOM:
        raise BadRequest
    return Visit(read(pairs), query, _since(query, asked.get(SINCE, "")))


def brought_back(query: str) -> Visit:
    """The same from the query that our own form has brought back."""
    pairs: list[Any] = parse_qsl(query, keep_blank_values=True)
    return arrived(MultiDict(pairs))


def _marked(query: str, since: int) -> str:
    tag = services().keyring.tag(PURPOSE, f"{since} {query}".encode())
    return f"{query}&{SINCE}={since}.{b64url(tag)}"


def _since(query: str, mark: str) -> int | None:
    time, _, tag = mark.partition(".")
    known = services().keyring.accepts(PURPOSE, f"{time} {query}".encode("utf-8", "replace"), unb64url(tag) or b"")
    return int(time) if known and now() - int(time) <= TIME_TO_LOG_IN else None
