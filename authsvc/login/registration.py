"""From a stranger's email and password to an account, by way of a mail."""

from authsvc.core.crypto import Keyring, pseudonym
from authsvc.core.session import Session
from authsvc.core.settings import Settings
from authsvc.core.store import Clock
from authsvc.domain.accounts import Accounts, email_key
from authsvc.domain.links import CHANGE_EMAIL, VERIFY, Links, Proof
from authsvc.domain.registrations import Registrations
from authsvc.domain.sessions import Origin
from authsvc.login.password import Hasher, check_policy


class Registration:
    def __init__(
        self, settings: Settings, keyring: Keyring, accounts: Accounts, registrations: Registrations, links: Links,
        hasher: Hasher, clock: Clock,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._keyring = keyring
        self._accounts = accounts
        self._registrations = registrations
        self._links = links
        self._hasher = hasher
        self._clock = clock

    def register(self, email: str, password: str, *, name: str, locale: str, origin: Origin) -> str:
        """Have a mail sent; returns the flow that takes its code. The answer and the work are the same whether or not
        the email is taken. Raises InvalidFields, RateLimited, Busy or StorageDown."""
        self._registrations.check(email, name, origin.ip)
        check_policy(self._settings, password, email=email, name=name)
        account = pseudonym(self._keyring, email_key(email))
        return self._registrations.register(
            email, self._hasher.hash(password), name=name, locale=locale, origin=origin, account=account
        )

    def change_email(self, own: Session, email: str) -> str:
        """Have a mail sent to an address that is to be the account's; returns the flow that takes its code. Raises
        InvalidFields."""
        account = pseudonym(self._keyring, email_key(email))
        return self._accounts.ask_for_email(own.user, email, account=account, most=self._settings.mail_limit)

    def verify(self, proof: Proof) -> None:
        """Confirm an email, of a registration or the new one of an account. Raises TokenInvalid, EmailTaken."""
        self._registrations.verify(self._links.opened_by(proof, self._clock(), VERIFY, CHANGE_EMAIL))
