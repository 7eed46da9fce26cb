"""Hashing in a bounded pool, and what may become a password."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from authsvc.core.errors import Busy, InvalidFields, Unavailable
from authsvc.core.settings import Settings
from authsvc.login.password import Hasher, check_policy
from tests.conftest import PASSWORD, make_settings
from tests.servers import wait_for

MakeHasher = Callable[..., Hasher]


@pytest.fixture
def make_hasher() -> Iterator[MakeHasher]:
    made: list[Hasher] = []

    def make(**changes: Any) -> Hasher:
        made.append(Hasher(make_settings(**changes)))
        return made[-1]

    yield make
    for hasher in made:
        hasher.close()


@pytest.mark.parametrize("password", [PASSWORD, " blanks ", "pässwörd ✓", "\0" * 12, "\ud800" * 12, "x" * 256, ""])
def test_a_password_is_taken_byte_for_byte(make_hasher: MakeHasher, password: str) -> None:
    hasher = make_hasher()
    stored = hasher.hash(password)

    assert stored.startswith("$argon2id$")
    assert hasher.verify(stored, password)
    assert not hasher.verify(stored, password + " ")
    assert not hasher.verify(stored, password.swapcase() + "x")


def test_the_same_password_is_never_stored_the_same_twice(make_hasher: MakeHasher) -> None:
    hasher = make_hasher()

    assert hasher.hash(PASSWORD) != hasher.hash(PASSWORD)


@pytest.mark.parametrize("stored", ["", "no hash", "$argon2id$v=19$m=8,t=1,p=1$x", "$2b$12$abcdefghijklmnopqrstuv"])
def test_a_stored_value_that_is_no_hash_lets_nobody_in(make_hasher: MakeHasher, stored: str) -> None:
    assert not make_hasher().verify(stored, PASSWORD)


def test_there_is_no_password_of_nobody(make_hasher: MakeHasher) -> None:
    hasher = make_hasher()

    assert not hasher.verify(None, PASSWORD)
    assert not hasher.verify(None, "")


def test_the_default_parameters_are_those_of_owasp() -> None:
    fields = Settings.model_fields
    assert (fields["argon2_time_cost"].default, fields["argon2_memory_kib"].default) == (2, 19456)


def test_a_hash_is_outdated_when_the_parameters_rise(make_hasher: MakeHasher) -> None:
    stored = make_hasher().hash(PASSWORD)

    assert not make_hasher().outdated(stored)
    assert make_hasher(argon2_time_cost=2).outdated(stored)
    assert make_hasher(argon2_memory_kib=16).outdated(stored)


@pytest.mark.promise("B5")
def test_never_more_are_hashed_at_once_than_there_are_workers_and_what_does_not_fit_is_refused_early(
    make_hasher: MakeHasher,
) -> None:
    hasher = make_hasher(hash_workers=2, hash_queue=3)
    go_on, at_once, most = threading.Event(), list[int](), list[int]()

    def work() -> bool:
        at_once.append(1)
        most.append(len(at_once))
        assert go_on.wait(10)
        at_once.pop()
        return True

    threads = [threading.Thread(target=hasher._in_turn, args=(work,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(at_once) == 2 and hasher._places._value == 0)

    with pytest.raises(Busy):
        hasher.hash(PASSWORD)
    with pytest.raises(Busy):
        hasher.verify(None, PASSWORD)

    go_on.set()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (5, 2)
    assert hasher.hash(PASSWORD)


def test_a_place_is_free_again_after_an_error(make_hasher: MakeHasher) -> None:
    hasher = make_hasher(hash_workers=1, hash_queue=0)

    def fail() -> bool:
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            hasher._in_turn(fail)
    assert hasher.hash(PASSWORD)


def test_a_hasher_that_stops_says_later(make_hasher: MakeHasher) -> None:
    hasher = make_hasher()
    hasher.close()

    with pytest.raises(Unavailable):
        hasher.verify(None, PASSWORD)


def refused(password: str, **who: str) -> str:
    """The code of the refusal; empty if the password may be used."""
    try:
        check_policy(make_settings(), password, **{"email": "anna@example.org", **who})
    except InvalidFields as error:
        return error.errors[0].code
    return ""


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("x" * 11, "length"),
        ("xyxzyxwvxyxq", ""),
        ("x" * 12, "common"),
        ("ä" * 12, ""),
        ("😀" * 11, "length"),
        ("x" * 256, ""),
        ("x" * 257, "length"),
        ("            ", ""),
        ("anna@example.org", "guessable"),
        ("ANNA@EXAMPLE.org", "guessable"),
        ("Anna Lovelace", "guessable"),
    ],
)
def test_a_password_is_judged_by_length_and_by_what_its_owner_is_called(password: str, code: str) -> None:
    assert refused(password, name="anna lovelace") == code
