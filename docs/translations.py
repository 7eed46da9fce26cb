"""Brings the catalogs in `authsvc/translations` up to date with templates and code: `python docs/translations.py`.

Each string that pages and mails show goes into `messages.po` of every language; translate it there and run this again,
which compiles the `.mo` that the service reads. With `--check` nothing is written: what is missing is listed.
"""

import ast
import io
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po

from authsvc.core.errors import AuthsvcError, Misconfigured
from authsvc.core.locales import ENGLISH, FOLDER, LOCALES

SOURCE = Path(__file__).parent.parent / "authsvc"
METHODS = [("templates/**.html", "jinja2"), ("templates/**.txt", "jinja2"), ("**.py", "python")]
JINJA = {"trim_blocks": "true", "lstrip_blocks": "true", "newstyle_gettext": "true", "silent": "false"}
KEYWORDS = {**DEFAULT_KEYWORDS, "lazy_gettext": None, "lazy_ngettext": (1, 2)}
NO_TIME = datetime(2000, 1, 1)  # noqa: DTZ001 - a date that changed at every run would be noise
HEADER = """\
msgid ""
msgstr ""
"Language: {locale}\\n"
"Plural-Forms: {plural}\\n"
"Content-Type: text/plain; charset=utf-8\\n"

"""


def extracted() -> Catalog:
    """Every string of templates, code and errors, with the files that it stands in."""
    catalog = Catalog(creation_date=NO_TIME, revision_date=NO_TIME)
    found = extract_from_dir(SOURCE, METHODS, {"templates/**": JINJA}, KEYWORDS, ("Translators:",))
    for file, _line, message, comments, context in found:
        catalog.add(message, None, [(f"authsvc/{file}", 0)], auto_comments=comments, context=context)
    for error in _errors(AuthsvcError):
        catalog.add(error.sentence, None, [("authsvc/core/errors.py", 0)])
    for path in sorted(SOURCE.rglob("*.py")):
        for sentence in _field_errors(ast.parse(path.read_text())):
            catalog.add(sentence, None, [(f"authsvc/{path.relative_to(SOURCE)}", 0)])
    return catalog


def _errors(base: type[AuthsvcError]) -> Iterator[type[AuthsvcError]]:
    """Those whose sentences people see."""
    if base is not Misconfigured:
        yield base
        for error in base.__subclasses__():
            yield from _errors(error)


def _field_errors(code: ast.AST) -> Iterator[str]:
    """What is said about single fields; sentences that are not written in place are marked with `N_`."""
    for node in ast.walk(code):
        match node:
            case ast.Call(func=ast.Name("FieldError"), args=[_, _, ast.Constant(str(sentence))]):
                yield sentence


def updated(locale: str) -> Catalog:
    """The catalog of a language as it should be: what the code says, with the translations that there are."""
    file = po(locale)
    catalog = read_po(io.BytesIO(file.read_bytes()), locale) if file.exists() else Catalog(locale)
    catalog.update(extracted(), no_fuzzy_matching=True)
    catalog.creation_date = catalog.revision_date = NO_TIME
    return catalog


def po(locale: str) -> Path:
    return FOLDER / locale / "LC_MESSAGES" / "messages.po"


def mo(locale: str) -> Path:
    return po(locale).with_suffix(".mo")


def written(catalog: Catalog) -> bytes:
    """The `.po` of a catalog: without line numbers, dates and versions, so that it changes only with its strings."""
    body = io.BytesIO()
    write_po(body, catalog, width=120, omit_header=True, sort_by_file=True, ignore_obsolete=True, include_lineno=False)
    return HEADER.format(locale=catalog.locale, plural=catalog.plural_forms).encode() + body.getvalue()


def words(catalog: Catalog) -> dict[object, object]:
    """What a catalog translates."""
    return {message.id: message.string for message in catalog if message.id and message.string}


def stale(locale: str) -> list[str]:
    """Files of a language that do not hold what the code says; running this command brings them up to date."""
    catalog, files = updated(locale), []
    if not po(locale).exists() or po(locale).read_bytes() != written(catalog):
        files.append(f"{po(locale)} is out of date.")
    if not mo(locale).exists() or words(read_mo(io.BytesIO(mo(locale).read_bytes()))) != words(catalog):
        files.append(f"{mo(locale)} is out of date.")
    return files


def untranslated(locale: str) -> list[str]:
    """Strings without a translation that is good."""
    catalog = updated(locale)
    return [
        f"{locale}: {message.id!r} of {message.locations[0][0]} is not translated, or names other placeholders."
        for message in catalog
        if message.id and (not message.string or message.fuzzy or message.check(catalog))
    ]


def write(locale: str) -> None:
    catalog = updated(locale)
    po(locale).parent.mkdir(parents=True, exist_ok=True)
    po(locale).write_bytes(written(catalog))
    with mo(locale).open("wb") as file:
        write_mo(file, catalog)


def main(arguments: list[str]) -> int:
    translated = [locale for locale in LOCALES if locale != ENGLISH]
    if arguments != ["--check"]:
        for locale in translated:
            write(locale)
    missing = [line for locale in translated for line in stale(locale) + untranslated(locale)]
    sys.stdout.writelines(f"{line}\n" for line in missing)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
