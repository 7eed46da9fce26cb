import pytest

from authsvc.login.strength import LONGEST, STRONG, estimate
from tests.conftest import PASSWORD


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("qwertyuiop", "common"),
        ("aaaaaaaaaaaa", "repetition"),
        ("elephant", "common"),
        ("11/12/1987", "date"),
        ("mnbvfghjkl", "sequence"),
        ("", "weak"),
    ],
)
def test_a_weak_password_is_told_why(password: str, code: str) -> None:
    found = estimate(password)
    assert found.score < STRONG
    assert found.advice
    assert found.advice[0] == code


def test_a_strong_password_gets_no_advice() -> None:
    assert estimate(PASSWORD).score >= STRONG
    assert estimate(PASSWORD).advice is None


def test_words_of_the_account_make_a_password_weaker() -> None:
    password = "wolfeschlegelstein"
    assert estimate(password, name="Wolfeschlegelstein").score < estimate(password).score


def test_a_long_one_costs_no_more_than_its_beginning() -> None:
    assert estimate("1@4$" * 1000) == estimate(("1@4$" * 1000)[:LONGEST])


def test_any_text_has_a_strength() -> None:
    for odd in ("\ud800" * 12, "\0" * 12, "🐈" * 12):
        assert 0 <= estimate(odd).score <= 4
