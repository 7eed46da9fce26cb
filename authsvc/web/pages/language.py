"""The choice of a language: a cookie keeps it for the pages, the account for its mails."""

from typing import Literal

from flask import Blueprint, Response
from pydantic import Field

from authsvc.web.body import Body, form_body
from authsvc.web.guards import services, who
from authsvc.web.languages import COOKIE
from authsvc.web.pages.show import see
from authsvc.web.paths import LONGEST_PATH, is_ours

blueprint = Blueprint("language", __name__)
KEPT = 400 * 86400  # seconds; the longest that browsers keep a cookie


class LanguageForm(Body):
    lang: Literal["en", "zh_Hans_CN", "zh_Hant_TW"]
    next: str = Field("", max_length=LONGEST_PATH)


@blueprint.post("/language")
def choose() -> Response:
    form = form_body(LanguageForm)
    if own := who():
        services().accounts.speak(own.user, form.lang)
    answer = see(form.next if is_ours(form.next) else "/")
    secure = services().settings.cookie_secure
    answer.set_cookie(COOKIE, form.lang, max_age=KEPT, path="/", secure=secure, httponly=True, samesite="Lax")
    return answer
