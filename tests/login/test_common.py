"""Common passwords are refused though they are long enough, and others are not."""

import random
import string
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.errors import InvalidFields
from authsvc.login import common
from authsvc.login.common import LONGEST, is_common
from authsvc.login.password import check_policy
from tests.conftest import PASSWORD, make_settings

STEMS = common.WORDS.read_text("utf-8").split()
RANDOM = random.SystemRandom()
ENDINGS = ("1", "12", "123", "1234", "12345", "123456", "2024", "2025!", "!", "!!!", "007", "@123", "99")


@pytest.mark.parametrize(
    "password",
    [
        "password1234", "Passw0rd!2025", "P@$$w0rd1234", "passwordpassword", "qwertyuiop12", "qwerty123456",
        "1qaz2wsx3edc", "zaq12wsxcde3", "q1w2e3r4t5y6", "123qweasdzxc", "123456789012", "987654321012",
        "aaaaaaaaaaaa", "abc123abc123", "hello!hello!hello!", "iloveyou2024!", "letmeinplease", "woaini1314520",
        "Summer2024!!", "changeme1234", "welcome_12345", "pass word 1234", "abcdefghijklm", "x" * 12, "mypassword12",
        "thisismypassword", "manchesterunited", "drowssap1234", "112233445566", "147258369147", "10203040506070",
        "aabbccddeeff", "jordan232323", "qq1234567890", "zhangwei123456", "liuyang19900101", "йцукенгшщзхъ",
        "密码" * 6, "\uff50assword1234", "!QAZ2wsx#EDC", "10 10 10 10 10 10", "CorrectHorseBatteryStaple",
    ],
)  # fmt: skip
def test_what_many_people_use_is_common(password: str) -> None:
    assert is_common(password)


def test_many_thousand_common_ones_that_are_long_enough_are_known() -> None:
    """OWASP ASVS 6.2.4 asks for 3,000."""
    words = [stem for stem in STEMS if stem.isalpha()]
    made = {f"{word}{ending}" for word, ending in product(words, ENDINGS) if 12 <= len(word + ending) <= LONGEST}
    made |= {one + two for one, two in product(words[:200], words[200:]) if 12 <= len(one + two) <= LONGEST}
    assert len(made) > 20_000
    sample = RANDOM.sample(sorted(made), 4000)
    assert [password for password in sample if not is_common(password)] == []


@pytest.mark.parametrize(
    "password",
    [
        PASSWORD, "another horse, another staple", "a long walk along the river", "Zimmer mit Aussicht auf See",
        "我喜欢在早上喝一杯热茶看书", "kR7#pLm2Qz9!", "830572946183", "tr0ub4dor&3xyz", "🐈🐕🐎🐖🐄🐑🐐🐪🐘🐁🐇🦔",
        "\0" * 12, " " * 12,
    ],
)  # fmt: skip
def test_what_few_people_use_is_not(password: str) -> None:
    assert not is_common(password)


@pytest.mark.parametrize(
    ("alphabet", "length"),
    [
        (string.ascii_lowercase, 12), (string.ascii_letters + string.digits, 12), (string.hexdigits, 16),
        (string.digits, 14), (string.ascii_letters + string.digits + string.punctuation, 14),
    ],
)  # fmt: skip
def test_hardly_anything_that_a_generator_makes_is_common(alphabet: str, length: int) -> None:
    made = ["".join(RANDOM.choices(alphabet, k=length)) for _ in range(1000)]
    assert sum(map(is_common, made)) <= 5


def test_four_words_at_random_are_not_common_even_if_each_of_them_is() -> None:
    words = [stem for stem in STEMS if len(stem) >= 5]
    made = [" ".join(RANDOM.sample(words, 4)) for _ in range(1000)]
    assert sum(map(is_common, made)) <= 5


@given(st.text(string.printable, max_size=30))
def test_capitals_and_separators_make_nothing_uncommon(text: str) -> None:
    assert is_common(text) == is_common(text.upper()) == is_common(f"{text} ")


@pytest.mark.parametrize(
    "password", ["Anna.Smythe2024", "annasmythe1999!", "SmytheAnna!!!!", "anna.smythe@example.org"]
)
def test_words_of_the_account_and_what_is_made_of_them_are_refused(password: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        check_policy(make_settings(), password, email="anna.smythe@example.org", name="Anna Smythe")
    assert [error.code for error in refused.value.errors] == ["guessable"]
    check_policy(make_settings(), "Anna likes the smell of rain", email="anna.smythe@example.org", name="Anna Smythe")


@pytest.mark.parametrize(
    "password",
    [
        "quxley1985quxley1985",
        "Qu.x.l3y1985!",
        "quxley1985example",
        "王小明19900101!",
        "Wolkenheim2024",
        "wolkenheimwolkenheim",
    ],
)
def test_what_everybody_knows_of_account_and_service_makes_no_password(password: str) -> None:
    settings = make_settings(public_url="https://login.wolkenheim.test")
    with pytest.raises(InvalidFields) as refused:
        check_policy(settings, password, email="quxley1985@example.org", name="王小明 Quxley")
    assert [error.code for error in refused.value.errors] == ["guessable"]
    check_policy(make_settings(), password, email="anna@test.test")


def test_what_is_longer_than_any_list_has_is_taken() -> None:
    assert not is_common("x" * 64)
    assert not is_common("password" * 32)
