"""What the code says is what the catalogs translate."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from authsvc.core import locales
from authsvc.core.locales import ENGLISH, LOCALES, SIMPLIFIED, TRADITIONAL, best

TRANSLATED = [locale for locale in LOCALES if locale != ENGLISH]


@pytest.fixture(scope="module")
def command() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parent.parent / "docs" / "translations.py"))


@pytest.mark.parametrize("locale", TRANSLATED)
def test_the_catalogs_hold_every_string_and_are_compiled(command: dict[str, Any], locale: str) -> None:
    assert command["stale"](locale) == [], "run python docs/translations.py"


@pytest.mark.parametrize("locale", TRANSLATED)
def test_every_string_is_translated(command: dict[str, Any], locale: str) -> None:
    assert command["untranslated"](locale) == []


@pytest.mark.parametrize("locale", TRANSLATED)
def test_what_the_service_reads_is_what_was_translated(command: dict[str, Any], locale: str) -> None:
    words = command["words"](command["updated"](locale))
    one = next(id_ for id_ in words if isinstance(id_, str))
    assert locales.translations(locale).gettext(one) == words[one]


def test_a_missing_translation_and_a_lost_placeholder_are_found(
    command: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = command["Catalog"](SIMPLIFIED)
    catalog.add("Hello %(name)s", "你好 %(nome)s", [("mail/a.txt", 0)], flags=["python-format"])
    catalog.add("Bye", "", [("mail/a.txt", 0)])
    catalog.add("Fine", "好", [("mail/a.txt", 0)])
    monkeypatch.setitem(command["untranslated"].__globals__, "updated", lambda _: catalog)
    assert len(command["untranslated"](SIMPLIFIED)) == 2


@pytest.mark.parametrize(
    ("tags", "locale"),
    [
        (["zh-TW"], TRADITIONAL),
        (["zh-Hant-HK"], TRADITIONAL),
        (["zh-CN", "en"], SIMPLIFIED),
        (["zh"], SIMPLIFIED),
        (["zh-Hans-HK"], SIMPLIFIED),
        (["de", "en-GB", "zh"], ENGLISH),
        (["de"], ENGLISH),
        (["", "*", "\0", "zh-" * 1000], SIMPLIFIED),
        ([], ENGLISH),
    ],
)
def test_a_reader_gets_the_language_that_is_dearest_of_those_we_speak(tags: list[str], locale: str) -> None:
    assert best(tags) == locale
