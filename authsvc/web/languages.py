"""In which language a person reads."""

from flask import request

from authsvc.core import locales
from authsvc.core.locales import ENGLISH, LOCALES, SIMPLIFIED, TRADITIONAL

COOKIE = "lang"
NAMES = {ENGLISH: "English", SIMPLIFIED: "简体中文", TRADITIONAL: "繁體中文"}


def chosen() -> str:
    """The locale chosen at the foot of a page, else the one that the browser asks for, as far as we speak it."""
    kept = request.cookies.get(COOKIE, "")
    return kept if kept in LOCALES else locales.best(request.accept_languages.values())
