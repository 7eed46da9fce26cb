"""How hard a password is to guess, to advise whoever chooses one. It never refuses: `check_policy` does."""

from dataclasses import dataclass

from zxcvbn_rs_py import zxcvbn

from authsvc.core.locales import N_
from authsvc.login.password import own_words

LONGEST = 40  # characters that are looked at: the time grows with the square, and what is longer is strong by then

COMMON = ("common", N_("This is close to a password that many people use."))
NAME = ("name", N_("Names are easy to guess."))
DATE = ("date", N_("Dates are easy to guess."))
REPETITION = ("repetition", N_("Repetitions are easy to guess."))
SEQUENCE = ("sequence", N_("Rows of letters, digits or keys are easy to guess."))
WEAK = ("weak", N_("Another word or two make it harder to guess."))
ADVICE = {
    "ThisIsATop10Password": COMMON,
    "ThisIsATop100Password": COMMON,
    "ThisIsACommonPassword": COMMON,
    "ThisIsSimilarToACommonlyUsedPassword": COMMON,
    "CommonNamesAndSurnamesAreEasyToGuess": NAME,
    "NamesAndSurnamesByThemselvesAreEasyToGuess": NAME,
    "DatesAreOftenEasyToGuess": DATE,
    "RecentYearsAreEasyToGuess": DATE,
    "RepeatsLikeAaaAreEasyToGuess": REPETITION,
    "RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess": REPETITION,
    "SequencesLikeAbcAreEasyToGuess": SEQUENCE,
    "ShortKeyboardPatternsAreEasyToGuess": SEQUENCE,
    "StraightRowsOfKeysAreEasyToGuess": SEQUENCE,
}
STRONG = 3


@dataclass(frozen=True, slots=True)
class Strength:
    """`score` from 0 (guessed at once) to 4. `advice` is a code and a sentence; None for a strong one."""

    score: int
    advice: tuple[str, str] | None


def estimate(password: str, *, email: str = "", name: str = "") -> Strength:
    result = zxcvbn(password[:LONGEST].encode("utf-8", "replace").decode(), sorted(own_words(email, name)))
    score = int(result.score)
    if score >= STRONG:
        return Strength(score, None)
    warning = result.feedback.warning if result.feedback else None
    return Strength(score, ADVICE.get(repr(warning).rpartition(".")[2], WEAK))
