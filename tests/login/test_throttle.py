"""How often logins may fail, with Redis and without it. Only failures count."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from authsvc.core.crypto import device_cookie
from authsvc.core.errors import InvalidCredentials, RateLimited
from authsvc.core.settings import HOUR, MINUTE
from authsvc.domain.sessions import Origin
from authsvc.login.flow import Caller
from authsvc.login.throttle import network_of
from authsvc.services import Services
from tests.conftest import PASSWORD
from tests.servers import Valkey

pytestmark = pytest.mark.promise("B4")
ANNA, HOME = "anna@example.org", "192.0.2.1"
MakeServices = Callable[..., Services]


@pytest.fixture(params=["with redis", "without redis"])
def make(request: pytest.FixtureRequest, make_services: MakeServices, valkey: Valkey) -> MakeServices:
    """Makes a service whose limits are small, and in which Anna has an account."""

    def make(**limits: Any) -> Services:
        services = make_services(**limits)
        if services.accounts.nobody():
            services.accounts.create(ANNA, services.hasher.hash(PASSWORD))
        if request.param == "without redis":
            valkey.kill()
        return services

    return make


def attempt(services: Services, email: str = ANNA, password: str = "wrong", ip: str = HOME, device: str = "") -> str:
    """`in`, `wrong`, or how the limit answers."""
    try:
        services.login.with_password(email, password, remember=False, caller=Caller(Origin(ip, "Firefox"), device))
    except InvalidCredentials:
        return "wrong"
    except RateLimited as limited:
        return "wait" if 1 <= limited.retry_after <= HOUR else f"wait {limited.retry_after}"
    return "in"


def test_a_pair_of_account_and_address_waits_after_its_failures(make: MakeServices) -> None:
    services = make(login_pair_limit=3)

    assert [attempt(services) for _ in range(5)] == ["wrong"] * 3 + ["wait"] * 2
    assert attempt(services, password=PASSWORD) == "wait"
    assert attempt(services, password=PASSWORD, ip="192.0.2.2") == "in"
    assert attempt(services, email="bob@example.org") == "wrong"


def test_an_address_waits_after_its_failures_on_whatever_accounts(make: MakeServices) -> None:
    services = make(login_address_limit=4)

    answers = [attempt(services, email=f"{number}@example.org") for number in range(6)]

    assert answers == ["wrong"] * 4 + ["wait"] * 2
    assert attempt(services, password=PASSWORD) == "wait"
    assert attempt(services, password=PASSWORD, ip="192.0.2.2") == "in"


def test_an_account_waits_for_unknown_devices_and_its_owner_comes_in(make: MakeServices) -> None:
    services = make(login_account_limit=5)
    credentials = services.accounts.known(ANNA).account
    assert credentials
    device = device_cookie(services.keyring, credentials.user_id)

    answers = [attempt(services, ip=f"198.51.100.{number}") for number in range(7)]

    assert answers == ["wrong"] * 5 + ["wait"] * 2
    assert attempt(services, password=PASSWORD, ip="203.0.113.1") == "wait"
    assert attempt(services, password=PASSWORD, ip="203.0.113.1", device=device) == "in"
    assert attempt(services, password=PASSWORD, ip="203.0.113.1", device=device[::-1]) == "wait"


def test_a_known_device_is_held_up_by_its_own_failures(make: MakeServices) -> None:
    services = make(login_pair_limit=2)
    credentials = services.accounts.known(ANNA).account
    assert credentials
    device = device_cookie(services.keyring, credentials.user_id)

    assert [attempt(services, device=device) for _ in range(3)] == ["wrong", "wrong", "wait"]


def test_logins_that_succeed_do_not_count(make: MakeServices) -> None:
    services = make(login_pair_limit=2, login_address_limit=2, login_account_limit=2)

    assert [attempt(services, password=PASSWORD) for _ in range(6)] == ["in"] * 6
    assert attempt(services) == "wrong"
    assert attempt(services, password=PASSWORD) == "in"


def test_an_email_in_another_spelling_is_the_same_account(make: MakeServices) -> None:
    services = make(login_pair_limit=2)

    assert [attempt(services, email=email) for email in (ANNA, ANNA.upper(), "Anna@Example.ORG")] == [
        "wrong",
        "wrong",
        "wait",
    ]


def test_an_unknown_account_is_limited_like_a_known_one(make: MakeServices) -> None:
    services = make(login_pair_limit=2)

    assert [attempt(services, email="nobody@example.org") for _ in range(3)] == ["wrong", "wrong", "wait"]


def test_failures_count_across_processes(make: MakeServices) -> None:
    one, two = make(login_pair_limit=3), make(login_pair_limit=3)

    assert [attempt(one), attempt(two), attempt(one), attempt(two), attempt(one)] == ["wrong"] * 3 + ["wait"] * 2


def test_failures_before_redis_went_away_count_without_it(make_services: MakeServices, valkey: Valkey) -> None:
    services = make_services(login_pair_limit=3)
    services.accounts.create(ANNA, services.hasher.hash(PASSWORD))
    before = [attempt(services) for _ in range(2)]
    valkey.kill()

    assert [*before, attempt(services), attempt(services)] == ["wrong", "wrong", "wrong", "wait"]


def test_many_at_once_do_not_get_past_the_limit(make_services: MakeServices) -> None:
    services = make_services(login_pair_limit=4, hash_queue=64)
    services.accounts.create(ANNA, services.hasher.hash(PASSWORD))
    together, answers = threading.Barrier(30), list[str]()

    def run() -> None:
        together.wait()
        answers.append(attempt(services))

    threads = [threading.Thread(target=run) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == ["wait"] * 26 + ["wrong"] * 4


def test_a_failure_of_ours_is_not_counted_as_theirs(make_services: MakeServices) -> None:
    services = make_services(login_pair_limit=1)
    services.accounts.create(ANNA, services.hasher.hash(PASSWORD))
    places = [
        services.hasher._places.acquire() for _ in range(services.settings.hashers + services.settings.hash_queue)
    ]

    for _ in range(3):
        with pytest.raises(Exception, match="Too many people"):
            attempt(services, password=PASSWORD)

    for _ in places:
        services.hasher._places.release()
    assert attempt(services, password=PASSWORD) == "in"


def test_the_wait_is_no_longer_than_the_window(make_services: MakeServices) -> None:
    services = make_services(login_pair_limit=1)
    attempt(services)

    with pytest.raises(RateLimited) as limited:
        services.login.with_password(ANNA, "wrong", remember=False, caller=Caller(Origin(HOME, "Firefox")))

    assert 14 * MINUTE < limited.value.retry_after <= 15 * MINUTE


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:DB8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_what_counts_as_one_address(ip: str, network: str) -> None:
    assert network_of(ip) == network


def test_an_ipv6_household_is_one_address(make: MakeServices) -> None:
    services = make(login_address_limit=2)
    ips = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2::3"]

    assert [attempt(services, email=f"{ip}@x.org", ip=ip) for ip in ips] == ["wrong", "wrong", "wait"]
    assert attempt(services, ip="2001:db8:1:3::1") == "wrong"
