"""How often logins may fail: per account and address together, per address, and per account for unknown devices."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

from authsvc.core import limits
from authsvc.core.errors import AuthsvcError, InvalidCredentials, RateLimited, RedisDown
from authsvc.core.limits import Full, Limit, Place
from authsvc.core.settings import HOUR, MINUTE, Settings
from authsvc.core.store import Store
from authsvc.domain.accounts import Accounts


class Throttle:
    def __init__(self, settings: Settings, store: Store, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts
        self._pair = Limit("login-pair", settings.login_pair_limit, 15 * MINUTE)
        self._address = Limit("login-address", settings.login_address_limit, HOUR)
        self._account = Limit("login-account", settings.login_account_limit, HOUR)

    @contextmanager
    def attempt(self, account: str, ip: str, *, known_device: bool) -> Iterator[None]:
        """Around one attempt: counts it if it ends in InvalidCredentials. Raises RateLimited.

        A known device is not held up by what strangers try on the account (nobody can lock its owner out).
        """
        network = network_of(ip)
        wanted = [(self._pair, f"{account}:{network}"), (self._address, network)]
        if not known_device:
            wanted.append((self._account, account))
        places = self._take(wanted, account, network)
        try:
            yield
        except InvalidCredentials:
            self._accounts.failed(account, network)
            raise
        except AuthsvcError:
            self._give_back(places)
            raise
        self._give_back(places)

    def _take(self, wanted: list[tuple[Limit, str]], account: str, network: str) -> list[Place]:
        try:
            return limits.take(self._store.redis, wanted, self._store.clock())
        except Full as full:
            raise RateLimited(retry_after=full.retry_after) from None
        except RedisDown:
            self._count_in_sql([limit for limit, _ in wanted], account, network)
            return []

    def _give_back(self, places: list[Place]) -> None:
        try:
            limits.give_back(self._store.redis, places)
        except RedisDown:
            return  # the attempt counts as a failure until its window has passed: strict, and rare

    def _count_in_sql(self, wanted: list[Limit], account: str, network: str) -> None:
        """While Redis is down the failures in the audit log are counted: slower, as strict, and across processes."""
        by = {
            self._pair: {"account": account, "ip": network},
            self._address: {"ip": network},
            self._account: {"account": account},
        }
        for limit in wanted:
            since = int(self._store.clock()) - limit.seconds
            if self._accounts.failures(since, **by[limit]) >= limit.most:
                raise RateLimited(retry_after=limit.seconds)


def network_of(ip: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 one, for a household has all of that."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
