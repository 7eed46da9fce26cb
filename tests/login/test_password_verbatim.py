"""A password is compared whole and as it was typed: nothing is trimmed, folded, normalised or cut off."""

import string
import unicodedata
from collections.abc import Iterator

import pytest

from authsvc.core.errors import InvalidFields
from authsvc.login.password import Hasher, check_policy
from tests.conftest import PASSWORD, make_settings

LONG = (string.ascii_letters + string.digits) * 4  # 248 characters


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    hasher = Hasher(make_settings())
    yield hasher
    hasher.close()


@pytest.mark.parametrize(
    "other",
    [PASSWORD + " ", " " + PASSWORD, PASSWORD + "\n", PASSWORD + "\0", PASSWORD.upper(), PASSWORD.title(),
     PASSWORD.replace(" ", ""), PASSWORD.replace(" ", "\N{NO-BREAK SPACE}"), PASSWORD[:-1], ""],
)  # fmt: skip
def test_a_password_that_is_almost_right_is_wrong(hasher: Hasher, other: str) -> None:
    stored = hasher.hash(PASSWORD)

    assert hasher.verify(stored, PASSWORD)
    assert not hasher.verify(stored, other)


@pytest.mark.parametrize("length", [8, 32, 64, 72, 128, 247])
def test_no_part_of_a_long_password_is_enough(hasher: Hasher, length: int) -> None:
    stored = hasher.hash(LONG)

    assert hasher.verify(stored, LONG)
    assert not hasher.verify(stored, LONG[:length])
    assert not hasher.verify(stored, LONG[:length] + "#" + LONG[length + 1 :])


def test_what_follows_a_nul_counts(hasher: Hasher) -> None:
    stored = hasher.hash("before\0after the NUL")

    assert not hasher.verify(stored, "before")
    assert not hasher.verify(stored, "before\0something else")


def test_two_spellings_that_look_alike_are_two_passwords(hasher: Hasher) -> None:
    composed = "p\N{LATIN SMALL LETTER A WITH DIAERESIS}ssword and more"

    assert not hasher.verify(hasher.hash(composed), unicodedata.normalize("NFD", composed))


@pytest.mark.parametrize(
    "password",
    ["\N{GRINNING FACE}" * 12, "\0" * 12, "\ud800" * 12, "830572946183", "yesyesnoyesno", "'; DROP TABLE users --",
     "anna@example.orgX", "\N{RIGHT-TO-LEFT OVERRIDE}" * 12, "\N{GRINNING FACE}" * 256],
)  # fmt: skip
def test_any_other_characters_may_be_a_password(password: str) -> None:
    assert check_policy(make_settings(), password, email="anna@example.org", name="Anna") is None


@pytest.mark.parametrize("length", [11, 257])
def test_length_is_counted_in_code_points(length: int) -> None:
    with pytest.raises(InvalidFields) as error:
        check_policy(make_settings(), "\N{GRINNING FACE}" * length, email="anna@example.org")

    assert [(each.field, each.code) for each in error.value.errors] == [("password", "length")]


def test_a_refusal_does_not_repeat_the_password() -> None:
    with pytest.raises(InvalidFields) as error:
        check_policy(make_settings(), "ANNA@example.org", email="anna@example.org")

    assert "anna" not in str(error.value.errors).casefold()
