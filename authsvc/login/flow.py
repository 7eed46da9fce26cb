"""From credentials to a session: throttle, prove, create."""

from dataclasses import dataclass
from typing import NoReturn

from authsvc.core.crypto import Keyring, Token, known_device, pseudonym
from authsvc.core.errors import Busy, EmailUnverified, InvalidCredentials, Unauthenticated
from authsvc.core.metrics import counted_login
from authsvc.core.session import Session
from authsvc.domain.accounts import Accounts, Credentials, email_key
from authsvc.domain.registrations import Registrations
from authsvc.domain.sessions import Origin, Sessions
from authsvc.login.password import Hasher
from authsvc.login.throttle import Throttle


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks to be let in: where from, the cookie that says "this device logged in before", and the session that
    the browser still held."""

    origin: Origin
    device_cookie: str = ""
    previous: Token | None = None


class Login:
    def __init__(
        self, accounts: Accounts, registrations: Registrations, sessions: Sessions, hasher: Hasher, throttle: Throttle,
        keyring: Keyring,
    ) -> None:  # fmt: skip
        self._accounts = accounts
        self._registrations = registrations
        self._sessions = sessions
        self._hasher = hasher
        self._throttle = throttle
        self._keyring = keyring

    def with_password(self, email: str, password: str, *, remember: bool, caller: Caller) -> tuple[Session, Token]:
        """A new session. Raises InvalidCredentials, EmailUnverified, RateLimited, Busy or StorageDown."""
        credentials, pending = self._accounts.known(email)
        device = known_device(self._keyring, credentials.user_id if credentials else "", caller.device_cookie)
        account = pseudonym(self._keyring, email_key(email))
        with counted_login(), self._throttle.attempt(account, caller.origin.ip, known_device=device):
            if credentials is None:
                self._refuse(email, pending, password, caller)
            proven = self._prove(credentials, password)
            return self._sessions.create(
                proven.user_id, proven.epoch, amr=("pwd",), remember=remember,
                origin=caller.origin, known_device=device, replacing=caller.previous,
            )  # fmt: skip

    def reauthenticate(self, own: Session, password: str, caller: Caller) -> Token:
        """Step-up: whoever is logged in proves it anew, and the token changes. Raises InvalidCredentials, RateLimited,
        Busy, Unauthenticated or StorageDown."""
        self.check(own, password, caller)
        token = self._sessions.rotate(own, ("pwd",))
        if token is None:
            raise Unauthenticated
        return token

    def check(self, own: Session, password: str, caller: Caller) -> Credentials:
        """The credentials of who is logged in, if this is their password; counted as an attempt to log in."""
        credentials, _ = self._accounts.known(own.email)
        account = pseudonym(self._keyring, email_key(own.email))
        with self._throttle.attempt(account, caller.origin.ip, known_device=True):
            if credentials is None:  # the email was changed a moment ago
                raise InvalidCredentials
            return self._prove(credentials, password)

    def _prove(self, credentials: Credentials, password: str) -> Credentials:
        if not self._hasher.verify(credentials.password, password) or credentials.disabled:
            raise InvalidCredentials
        if self._hasher.outdated(credentials.password):
            self._rehash(credentials, password)
        return credentials

    def _refuse(self, email: str, pending: str | None, password: str, caller: Caller) -> NoReturn:
        """There is no account, and as much work. Who has registered, and knows the password, gets the mail again."""
        if self._hasher.verify(pending, password):
            account = pseudonym(self._keyring, email_key(email))
            raise EmailUnverified(self._registrations.remind(email, caller.origin, account))
        raise InvalidCredentials

    def _rehash(self, credentials: Credentials, password: str) -> None:
        try:
            new = self._hasher.hash(password)
        except Busy:
            return  # the next login will do it
        self._accounts.rehashed(credentials.user_id, credentials.password, new)
