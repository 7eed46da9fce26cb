"""The languages that pages and mails speak. English is the source; the others are in `authsvc/translations`."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from babel.support import NullTranslations, Translations

ENGLISH, SIMPLIFIED, TRADITIONAL = "en", "zh_Hans_CN", "zh_Hant_TW"
LOCALES = (ENGLISH, SIMPLIFIED, TRADITIONAL)
FOLDER = Path(__file__).parent.parent / "translations"
WHERE_TRADITIONAL = frozenset({"hant", "tw", "hk", "mo"})


def N_(english: str) -> str:  # noqa: N802 - the usual name
    """Marks a sentence for the catalogs that is translated where it is shown."""
    return english


def best(tags: Iterable[str]) -> str:
    """The locale for who reads these languages (BCP 47 tags, the dearest first)."""
    return next(filter(None, map(_spoken, tags)), ENGLISH)


def _spoken(tag: str) -> str | None:
    language, *rest = tag.lower().replace("_", "-").split("-")
    if language == "zh":
        return TRADITIONAL if WHERE_TRADITIONAL & set(rest) and "hans" not in rest else SIMPLIFIED
    return ENGLISH if language == "en" else None


def tag(locale: str) -> str:
    """The locale as `lang` of HTML and Content-Language spell it (BCP 47)."""
    return locale.replace("_", "-")


@cache
def translations(locale: str) -> NullTranslations:
    """The words of one of LOCALES; what it has no words for stays English."""
    return Translations.load(FOLDER, [locale])
