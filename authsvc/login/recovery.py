"""Forgotten, reset and changed passwords, and logins that their owner disowns."""

from authsvc.core.crypto import Keyring, Token, pseudonym
from authsvc.core.session import Session
from authsvc.core.settings import Settings
from authsvc.core.store import Clock
from authsvc.domain import links
from authsvc.domain.accounts import email_key
from authsvc.domain.links import Links, Proof
from authsvc.domain.passwords import Passwords
from authsvc.domain.sessions import Ending, Sessions
from authsvc.login.flow import Caller, Login
from authsvc.login.password import Hasher, check_policy


class Recovery:
    def __init__(
        self, settings: Settings, keyring: Keyring, passwords: Passwords, links_: Links, sessions: Sessions,
        hasher: Hasher, login: Login, clock: Clock,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._keyring = keyring
        self._passwords = passwords
        self._links = links_
        self._sessions = sessions
        self._hasher = hasher
        self._login = login
        self._clock = clock

    def forgot(self, email: str, ip: str) -> str:
        """Have a mail sent if there is an account; returns the flow that takes its code. Same answer, same work."""
        return self._passwords.forgot(email, ip=ip, account=pseudonym(self._keyring, email_key(email)))

    def reset(self, proof: Proof, password: str) -> Ending:
        """A new password by the link or the code of a mail; ends every session. Raises TokenInvalid, InvalidFields (the
        link stays good then) or Busy."""
        link_id = self._links.opened_by(proof, self._clock(), links.RESET)
        owner = self._passwords.owner(link_id)
        check_policy(self._settings, password, email=owner.email, name=owner.name)
        return self._passwords.reset(link_id, self._hasher.hash(password))

    def change(self, own: Session, current: str, password: str, caller: Caller) -> tuple[Ending, Token | None]:
        """A new password for who is logged in; ends their other sessions, and this one goes on under a new token. None:
        it has ended meanwhile. Raises InvalidCredentials, RateLimited, InvalidFields or Busy."""
        check_policy(self._settings, password, email=own.email, name=own.name)
        credentials = self._login.check(own, current, caller)
        ending = self._passwords.change(own, credentials.password, self._hasher.hash(password))
        return ending, self._sessions.rotate(own, ("pwd",))

    def disown(self, token: str) -> tuple[Ending, str]:
        """End the login that a mail told of; returns also the token that resets the password. Raises TokenInvalid."""
        link_id = self._links.opened_by(Proof(token), self._clock(), links.NOT_ME)
        ending, reset = self._passwords.disown(link_id)
        return ending, links.token(self._keyring, reset, links.RESET)
