"""Which passwords are common, though they are long enough.

People make a long password of a short one: a common word and a year, two words, a row of keys, one of these twice. So
the list is kept as its pieces: words (common.txt), walks on the keyboard, repetitions, years, a few letters, digits and
signs. A password is on the list if it is nothing but pieces that cost no more than `CHEAP` together. See
docs/passwords.md.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, product
from pathlib import Path

WORDS = Path(__file__).with_name("common.txt")
CHEAP = 4
CHEAP_NUMBER = 3  # for digits alone: so many pieces are digits that a random number is soon made of a few
WORD, SMALL_WORD, OWN_WORD, WALK = 2, 1, 1, 1
LONGEST = 24  # characters; what is longer is on no list
SHORTEST_OWN_WORD = 4  # bytes of UTF-8: a name in Chinese has two or three characters
SMALL_WORDS = frozenset((
    "am", "be", "for", "forever", "i", "in", "is", "it", "me", "my", "new", "no1", "not", "of", "old", "our", "so",
    "the", "this", "to", "too", "your",
))  # fmt: skip
# Longer ones, known as they are written here.
PHRASES = frozenset((
    "correcthorsebatterystaple", "thequickbrownfoxjumpsoverthelazydog", "supercalifragilisticexpialidocious",
    "tobeornottobethatisthequestion", "iloveyoutothemoonandback", "allyourbasearebelongtous",
))  # fmt: skip

LINES = (
    "01234567890", "11223344556677889900", "102030405060708090", "147258369", "159753", "789456123", "147852369",
    "aabbccddeeffgghhii", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm",
    "wxcvbn", "йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю", "abcdefghijklmnopqrstuvwxyz", "1qaz", "2wsx", "3edc", "4rfv",
    "5tgb", "6yhn", "7ujm", "1q2w3e4r5t6y7u8i9o0p", "q1w2e3r4t5y6u7i8o9p0", "a1b2c3d4e5f6g7h8i9", "1a2b3c4d5e6f7g8h9i",
)  # fmt: skip
SHORTEST_WALK = 3
REPETITION = re.compile(r"(.+?)\1+")
SHORT_REPETITION = re.compile(r"([a-z0-9]{1,4}?)\1+")
RUN = re.compile(r"([a-z0-9]{1,3}?)\1{2,}")
YEAR = re.compile(r"19\d\d|20\d\d")
DATE = re.compile(r"(?:19|20)\d\d(?:0\d|1[0-2])[0-3]\d|[0-3]\d(?:0\d|1[0-2])(?:19|20)\d\d")
SOME_LETTERS = re.compile(r"[a-z]{1,2}")
SOME_DIGITS = re.compile(r"\d{1,4}")
SOME_SIGNS = re.compile(r"[!-/:-@\[-`{-~]{1,3}")
SEPARATORS = str.maketrans("", "", " -_.")
PATTERNS = ((RUN, 1), (YEAR, 1), (DATE, 2), (SOME_LETTERS, 2), (SOME_DIGITS, 2), (SOME_SIGNS, 1))
LEET = [str.maketrans("013457@$!", f"o{one}east" + f"as{one}") for one in "li"]


def is_common(password: str, own_words: Iterable[str] = ()) -> bool:
    """Whether a password is on the list, or made of `own_words`, those that everybody knows of this account."""
    folded = _folded(password)
    text = folded.translate(SEPARATORS)
    if not 0 < len(text) <= LONGEST:
        return folded in PHRASES
    own = {word for word in map(_folded, own_words) if len(word.encode()) >= SHORTEST_OWN_WORD}
    cheap = CHEAP_NUMBER if text.isdigit() else CHEAP
    return bool(SHORT_REPETITION.fullmatch(text)) or _cost(_unit(text), own) <= cheap


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


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
    """Ends and costs of the runs, dates, letters, digits and signs that begin here."""
    for pattern, cost in PATTERNS:
        if found := pattern.match(text, start):
            yield from ((end, cost) for end in range(start + 1, found.end() + 1) if pattern.fullmatch(text, start, end))


def _words(spellings: list[str], start: int, own: set[str]) -> Iterator[tuple[int, int]]:
    typed = spellings[0]
    for spelling, end in product(spellings, range(start + 1, len(typed) + 1)):
        piece = spelling[start:end]
        if spelling is typed or not typed[start:end].isdigit():  # 70 is not "to"
            if piece in own:
                yield end, OWN_WORD
            elif piece in SMALL_WORDS:
                yield end, SMALL_WORD
            elif piece in _common_words():
                yield end, WORD


def _walks(text: str, start: int) -> Iterator[tuple[int, int]]:
    for end in range(start + SHORTEST_WALK, len(text) + 1):
        if text[start:end] not in _all_walks():
            return
        yield end, WALK


@cache
def _common_words() -> frozenset[str]:
    return frozenset(WORDS.read_text("utf-8").split())


@cache
def _all_walks() -> frozenset[str]:
    lines = [*LINES, *(line[::-1] for line in LINES)]
    return frozenset(
        line[start:end]
        for line in lines
        for start in range(len(line))
        for end in range(start + SHORTEST_WALK, len(line) + 1)
    )
