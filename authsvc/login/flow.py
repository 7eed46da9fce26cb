"""From credentials to a session: throttle, prove, create."""

from dataclasses import dataclass

from authsvc.core.crypto import Keyring, Token, known_device, pseudonym
from authsvc.core.errors import Busy, InvalidCredentials
from authsvc.core.session import Session
from authsvc.domain.accounts import Accounts, Credentials, email_key
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
        self, accounts: Accounts, sessions: Sessions, hasher: Hasher, throttle: Throttle, keyring: Keyring
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._hasher = hasher
        self._throttle = throttle
        self._keyring = keyring

    def with_password(self, email: str, password: str, *, remember: bool, caller: Caller) -> tuple[Session, Token]:
        """A new session. Raises InvalidCredentials, RateLimited, Busy or StorageDown."""
        credentials = self._accounts.credentials(email)
        device = known_device(self._keyring, credentials.user_id if credentials else "", caller.device_cookie)
        account = pseudonym(self._keyring, email_key(email))
        with self._throttle.attempt(account, caller.origin.ip, known_device=device):
            proven = self._prove(credentials, password)
            return self._sessions.create(
                proven.user_id, proven.epoch, amr=("pwd",), remember=remember,
                origin=caller.origin, replacing=caller.previous,
            )  # fmt: skip

    def _prove(self, credentials: Credentials | None, password: str) -> Credentials:
        stored = credentials.password if credentials else None
        right = self._hasher.verify(stored, password)
        if credentials is None or not right or credentials.disabled:
            raise InvalidCredentials
        if self._hasher.outdated(credentials.password):
            self._rehash(credentials, password)
        return credentials

    def _rehash(self, credentials: Credentials, password: str) -> None:
        try:
            new = self._hasher.hash(password)
        except Busy:
            return  # the next login will do it
        self._accounts.rehashed(credentials.user_id, credentials.password, new)
