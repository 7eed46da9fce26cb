"""The one place where the parts meet."""

from dataclasses import dataclass

from authsvc.core.crypto import Keyring
from authsvc.core.redis import SyncRedis
from authsvc.core.settings import Settings
from authsvc.core.store import Store
from authsvc.db import Database
from authsvc.domain.accounts import Accounts
from authsvc.domain.outbox import Outbox
from authsvc.domain.sessions import Sessions
from authsvc.login.flow import Login
from authsvc.login.password import Hasher
from authsvc.login.throttle import Throttle


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    keyring: Keyring
    db: Database
    store: Store
    outbox: Outbox
    sessions: Sessions
    accounts: Accounts
    hasher: Hasher
    login: Login

    def close(self) -> None:
        self.hasher.close()
        self.store.redis.close()
        self.db.close()


def build(settings: Settings) -> Services:
    """Everything that web, workers and the command line call. Connects to nothing yet."""
    keyring = Keyring(settings.keys)
    db = Database(settings.sql_url)
    store = Store(SyncRedis(settings.hot_url))
    outbox = Outbox(db, store)
    sessions = Sessions(db, store, outbox, settings)
    accounts = Accounts(db, sessions, outbox, store.clock)
    hasher = Hasher(settings)
    login = Login(accounts, sessions, hasher, Throttle(settings, store, accounts), keyring)
    return Services(settings, keyring, db, store, outbox, sessions, accounts, hasher, login)
