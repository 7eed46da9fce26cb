"""The one place where the parts meet."""

import time
from dataclasses import dataclass

from authsvc.core.cluster import sync_door
from authsvc.core.crypto import Keyring
from authsvc.core.settings import Settings
from authsvc.core.store import Clock, Store
from authsvc.db import Database
from authsvc.domain.accounts import Accounts
from authsvc.domain.api_keys import ApiKeys
from authsvc.domain.bearers import Bearers
from authsvc.domain.clients import Clients
from authsvc.domain.codes import Codes
from authsvc.domain.consents import Consents
from authsvc.domain.deletions import Deletions
from authsvc.domain.exports import Exports
from authsvc.domain.grants import Grants
from authsvc.domain.jobs import Jobs
from authsvc.domain.keys import Keys
from authsvc.domain.links import Links
from authsvc.domain.logouts import Logouts
from authsvc.domain.oidc import Oidc
from authsvc.domain.outbox import Outbox
from authsvc.domain.passwords import Passwords
from authsvc.domain.registrations import Registrations
from authsvc.domain.revocations import Revocations
from authsvc.domain.sessions import Sessions
from authsvc.domain.tokens import Tokens
from authsvc.domain.upkeep import Upkeep
from authsvc.login.flow import Login
from authsvc.login.password import Hasher
from authsvc.login.recovery import Recovery
from authsvc.login.registration import Registration
from authsvc.login.throttle import Throttle


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    keyring: Keyring
    db: Database
    store: Store
    outbox: Outbox
    jobs: Jobs
    links: Links
    sessions: Sessions
    accounts: Accounts
    hasher: Hasher
    login: Login
    registration: Registration
    recovery: Recovery
    deletions: Deletions
    exports: Exports
    upkeep: Upkeep
    keys: Keys
    clients: Clients
    tokens: Tokens
    logouts: Logouts
    codes: Codes
    grants: Grants
    consents: Consents
    oidc: Oidc
    api_keys: ApiKeys
    bearers: Bearers

    def close(self) -> None:
        self.hasher.close()
        self.store.redis.close()
        self.db.close()


def build(settings: Settings, clock: Clock = time.time) -> Services:
    """Everything that web, workers and the command line call. Connects to nothing yet."""
    keyring = Keyring(settings.keys)
    db = Database(settings.sql_url)
    store = Store(sync_door(settings.hot_url), clock)
    keys, clients = Keys(db, keyring, settings, clock), Clients(db, keyring, settings, clock)
    outbox = Outbox(db, store, Revocations(db, keys, settings, clock).sign)
    jobs, links = Jobs(db, store, settings), Links(db, keyring)
    sessions = Sessions(db, store, outbox, jobs, settings)
    accounts = Accounts(db, sessions, outbox, jobs, store.clock)
    registrations = Registrations(db, accounts, jobs, settings, store.clock)
    passwords = Passwords(db, sessions, jobs, settings, store.clock)
    hasher = Hasher(settings)
    login = Login(accounts, registrations, sessions, hasher, Throttle(settings, store, accounts), keyring)
    registration = Registration(settings, keyring, accounts, registrations, links, hasher, store.clock)
    recovery = Recovery(settings, keyring, passwords, links, sessions, hasher, login, store.clock)
    deletions = Deletions(db, accounts, sessions, jobs, links, settings, store.clock)
    exports = Exports(db, jobs, outbox, store.clock)
    tokens = Tokens(keys, settings, clock)
    codes = Codes(db, clock)
    grants = Grants(db, keyring, codes, sessions, outbox, settings, clock)
    consents, oidc = Consents(db, grants, clock), Oidc(keys, settings, clock)
    api_keys = ApiKeys(db, keyring, settings, clock)
    bearers = Bearers(db, keys, tokens, sessions, grants, api_keys, settings, clock)
    logouts = Logouts(clients, keys, settings, clock)
    upkeep = Upkeep(db, sessions, deletions, keys, store.clock)
    return Services(
        settings, keyring, db, store, outbox, jobs, links, sessions, accounts, hasher, login, registration, recovery,
        deletions, exports, upkeep, keys, clients, tokens, logouts, codes, grants, consents, oidc, api_keys, bearers,
    )  # fmt: skip
