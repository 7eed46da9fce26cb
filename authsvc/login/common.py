"""Which passwords are common, though they are long enough.

People make a long password of a short one: a common word and a year, two words, a row of keys, one of these twice. So
the list is kept as its pieces: words (common.txt), walks on the keyboard, repetitions, years, a few digits and signs.
A password is on the list if it is nothing but pieces that cost no more than `CHEAP` together.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path

WORDS = Path(__file__).with_name("common.txt")
CHEAP = 5
WORD, OWN_WORD, WALK, DIGITS, SIGNS = 2, 1, 1, 2, 1
LONGEST = 24  # characters; what is longer is on no list
SHORTEST_OWN_WORD = 4

LINES = (
    "1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn",
    "abcdefghijklmnopqrstuvwxyz", "1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0", "a1b2c3d4e5f6g7h8i9", "1a2b3c4d5e6f7g8h9i",
)  # fmt: skip
SHORTEST_WALK = 3
REPETITION = re.compile(r"(.+?)\1+")
SHORT_REPETITION = re.compile(r"([a-z0-9]{1,4}?)\1+")
RUN = re.compile(r"([a-z0-9])\1{2,}")
YEAR = re.compile(r"19\d\d|20\d\d")
SOME_DIGITS = re.compile(r"\d{1,4}")
SOME_SIGNS = re.compile(r"[!-/:-@\[-`{-~]{1,3}")
SEPARATORS = str.maketrans("", "", " -_.")
LEET = [str.maketrans("013457@$!", f"o{one}east" + f"as{one}") for one in "li"]


def is_common(password: str, own_words: Iterable[str] = ()) -> bool:
    """Whether a password is on the list, or made of `own_words`, those that everybody knows of this account."""
    text = unicodedata.normalize("NFKC", password).casefold().translate(SEPARATORS)
    if not 0 < len(text) <= LONGEST:
        return False
    own = {word for word in map(str.casefold, own_words) if len(word) >= SHORTEST_OWN_WORD}
    return bool(SHORT_REPETITION.fullmatch(text)) or _cost(_unit(text), own) <= CHEAP


def _unit(text: str) -> str:
    """What a text repeats, or all of it."""
    repeated = REPETITION.fullmatch(text)
    return repeated[1] if repeated else text


def _cost(text: str, own: set[str]) -> int:
    """Of the cheapest pieces that make up the whole text; more than CHEAP if there are none."""
    spellings = [text, *(text.translate(table) for table in LEET)]
    cheapest = [0] + [CHEAP + 1] * len(text)
    for start in range(len(text)):
        if cheapest[start] > CHEAP:
            continue
        for end, cost in chain(_patterns(text, start), _words(spellings, start, own), _walks(text, start)):
            cheapest[end] = min(cheapest[end], cheapest[start] + cost)
    return cheapest[-1]


def _patterns(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Ends and costs of the runs, years, digits and signs that begin here."""
    for pattern, cost in ((RUN, WALK), (YEAR, WALK), (SOME_DIGITS, DIGITS), (SOME_SIGNS, SIGNS)):
        if found := pattern.match(text, start):
            yield from ((end, cost) for end in range(start + 1, found.end() + 1) if pattern.fullmatch(text, start, end))


def _words(spellings: list[str], start: int, own: set[str]) -> Iterator[tuple[int, int]]:
    for text in spellings:
        for end in range(start + 1, len(text) + 1):
            piece = text[start:end]
            if piece in own:
                yield end, OWN_WORD
            elif piece in _common_words():
                yield end, WORD


def _walks(text: str, start: int) -> Iterator[tuple[int, int]]:
    for end in range(start + SHORTEST_WALK, len(text) + 1):
        if text[start:end] not in _all_walks():
            return
        yield end, WALK


@cache
def _common_words() -> frozenset[str]:
    return frozenset(WORDS.read_text().split())


@cache
def _all_walks() -> frozenset[str]:
    lines = [*LINES, *(line[::-1] for line in LINES)]
    return frozenset(
        line[start:end]
        for line in lines
        for start in range(len(line))
        for end in range(start + SHORTEST_WALK, len(line) + 1)
    )
