"""The list of a user's sessions. What the session protocol promises is shown in tests/contract/."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from authsvc.core.crypto import Token
from authsvc.core.errors import InvalidCredentials, NotFound
from authsvc.core.settings import DAY, HOUR
from authsvc.domain.accounts import Account
from authsvc.domain.sessions import Origin
from authsvc.services import Services
from tests.contract.schedule import Clock


@pytest.fixture
def clock(services: Services) -> Clock:
    clock = Clock()
    services.store.clock = clock
    return clock


@pytest.fixture
def anna(services: Services, clock: Clock) -> Account:
    return services.accounts.create("anna@example.org", "hash")


@pytest.fixture
def log_in(services: Services, anna: Account) -> Callable[..., Token]:
    def log_in(ip: str = "192.0.2.1", device: str = "Firefox", **more: Any) -> Token:
        return services.sessions.create(
            anna.id, 0, amr=("pwd",), origin=Origin(ip, device), **{"remember": False, **more}
        )[1]  # fmt: skip

    return log_in


LogIn = Callable[..., Token]


def test_a_user_sees_where_they_are_logged_in(services: Services, anna: Account, log_in: LogIn, clock: Clock) -> None:
    first = log_in("192.0.2.1", "Firefox on Linux")
    clock.now += 60
    second = log_in("2001:db8::1", "Safari on iPhone")

    listed = services.sessions.of_user(anna.id)

    assert [(each.sid, each.ip, each.device) for each in listed] == [
        (second.sid, "2001:db8::1", "Safari on iPhone"),
        (first.sid, "192.0.2.1", "Firefox on Linux"),
    ]
    assert listed[0].created == listed[0].seen == int(clock.now)


def test_what_was_used_last_is_listed_first(services: Services, anna: Account, log_in: LogIn, clock: Clock) -> None:
    first, second = log_in(), log_in()
    clock.now += 120
    services.sessions.load(first)

    assert [each.sid for each in services.sessions.of_user(anna.id)] == [first.sid, second.sid]


def test_the_list_shows_what_would_be_let_in_and_nothing_else(
    services: Services, anna: Account, log_in: LogIn, clock: Clock
) -> None:
    plain, remembered, ended = log_in(), log_in(remember=True), log_in()
    services.sessions.logout(ended)
    begin, both, one = clock.now, {plain.sid, remembered.sid}, {remembered.sid}
    for hours, alive in [(0, both), (7, both), (8, one), (24 * 29, one), (24 * 30, set())]:
        clock.now = begin + hours * HOUR

        assert {each.sid for each in services.sessions.of_user(anna.id)} == alive, hours


def test_nobody_sees_the_sessions_of_another(services: Services, log_in: LogIn) -> None:
    log_in()

    assert services.sessions.of_user(services.accounts.create("eve@example.org", "hash").id) == []
    assert services.sessions.of_user("nobody") == []


def test_remember_chooses_the_longer_life(services: Services, log_in: LogIn) -> None:
    sessions = [services.sessions.load(log_in(remember=remember)) for remember in (False, True)]

    assert [(each.idle, each.absolute) for each in sessions if each] == [(8 * HOUR, 30 * DAY), (30 * DAY, 90 * DAY)]


def test_an_unknown_user_gets_no_session(services: Services, clock: Clock) -> None:
    with pytest.raises(InvalidCredentials):
        services.sessions.create("nobody", 0, amr=("pwd",), remember=False, origin=Origin("192.0.2.1", "x"))


def test_ending_all_sessions_of_nobody_is_not_found(services: Services) -> None:
    with pytest.raises(NotFound):
        services.sessions.end_all("nobody")


# -- the limit ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def limited(make_services: Callable[..., Services], clock: Clock) -> Services:
    made = make_services(sessions_per_user=3)
    made.store.clock = clock
    return made


def log_in_to(services: Services, user: str, **more: Any) -> Token:
    return services.sessions.create(
        user, 0, amr=("pwd",), origin=Origin("192.0.2.1", "Firefox"), **{"remember": False, **more}
    )[1]  # fmt: skip


def test_a_login_beyond_the_limit_ends_the_oldest(limited: Services, anna: Account, clock: Clock) -> None:
    stranger = log_in_to(limited, limited.accounts.create("ben@example.org", "hash").id)
    tokens = []
    for _ in range(5):
        tokens.append(log_in_to(limited, anna.id))
        clock.tick(70)
        limited.sessions.load(tokens[0])  # use does not save the oldest

    assert [bool(limited.sessions.load(token)) for token in tokens] == [False, False, True, True, True]
    assert limited.sessions.load(stranger)


def test_who_logs_in_again_in_the_same_browser_ends_nobody_elses(limited: Services, anna: Account) -> None:
    others = [log_in_to(limited, anna.id) for _ in range(2)]
    own = log_in_to(limited, anna.id)
    log_in_to(limited, anna.id, replacing=own)
    assert all(limited.sessions.load(token) for token in others)


def test_a_session_that_has_run_out_takes_no_place(limited: Services, anna: Account, clock: Clock) -> None:
    remembered = log_in_to(limited, anna.id, remember=True)
    for _ in range(2):
        log_in_to(limited, anna.id)
    clock.tick(9 * HOUR)
    log_in_to(limited, anna.id)
    assert limited.sessions.load(remembered)


def test_many_logins_at_once_stay_within_the_limit(limited: Services, anna: Account) -> None:
    together = threading.Barrier(8)

    def log_in() -> None:
        together.wait()
        log_in_to(limited, anna.id)

    threads = [threading.Thread(target=log_in) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(limited.sessions.of_user(anna.id)) == 3


def test_without_a_limit_every_session_lives(log_in: LogIn, services: Services, anna: Account) -> None:
    for _ in range(12):
        log_in()
    assert len(services.sessions.of_user(anna.id)) == 12
