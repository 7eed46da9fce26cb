"""In which language a person reads."""

from flask import request

LANGUAGES = ("en", "zh_Hans_CN", "zh_Hant_TW")


def chosen() -> str:
    """What the browser asks for, as far as we speak it."""
    return request.accept_languages.best_match([each.replace("_", "-") for each in LANGUAGES], "en").replace("-", "_")
