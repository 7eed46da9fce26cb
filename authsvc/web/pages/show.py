"""How a page is made: its template, times in words, and where to go next."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from flask import Blueprint, Response, make_response, redirect, render_template, request
from flask_babel import format_date, format_timedelta, gettext
from werkzeug.datastructures import MultiDict

from authsvc.core import locales
from authsvc.core.times import rfc3339
from authsvc.domain.redirects import may_redirect, source
from authsvc.domain.sessions import Ending
from authsvc.web import languages
from authsvc.web.guards import let_form_end_at, services, who
from authsvc.web.pages import words
from authsvc.web.paths import LONGEST_PATH, is_ours

AUTHORIZE = "/oauth/authorize"
DEAD_ENDS = ("/login", "/logout", "/reauthenticate")


def install(blueprint: Blueprint) -> None:
    """What templates know everywhere, also those of errors and of the API's page."""
    for template_filter in (ago, day, rfc3339, words.sentence, words.retry):
        blueprint.add_app_template_filter(template_filter)
    for known in (who, here):
        blueprint.add_app_template_global(known)
    blueprint.app_context_processor(_known)


def _known() -> dict[str, object]:
    shortest = services().settings.password_min
    return {"lang": locales.tag(languages.chosen()), "languages": languages.NAMES, "password_min": shortest}


def page(template: str, status: int = 200, **context: object) -> Response:
    """A page. `fields` are what its form holds, empty unless given."""
    shown: dict[str, Any] = {"fields": {}, "error": None, **context}
    let_form_end_at(client_behind(shown["fields"].get("next", "")))
    return make_response(
        render_template(template, notice=words.notice(request.args.get("notice", "")), **shown), status
    )


def client_behind(path: str) -> str:
    """Where the browser goes on to if it is led back to a request of a client: a source for the policy of a form."""
    before, _, query = path.partition("?")
    if before != AUTHORIZE:
        return ""
    asked = dict(parse_qsl(query))
    client = services().clients.find(asked.get("client_id", ""))
    uri = asked.get("redirect_uri", "")
    return source(uri) if client and may_redirect(client, uri) else ""


def fields(given: MultiDict[str, str], keep: tuple[str, ...]) -> dict[str, str]:
    return {name: given.get(name, "")[:LONGEST_PATH] for name in keep}


def see(path: str) -> Response:
    return make_response(redirect(path, 303))


def after(ending: Ending, path: str) -> Response:
    """On to the next page; while Redis has not heard of an end, a page that says by when it is final."""
    if ending.final_by is None:
        return see(path)
    return page("ending.html", 202, final_by=ending.final_by, path=path)


def local_path(wanted: str) -> str:
    """Where to go after the login: a path of ours, never another site."""
    return wanted if is_ours(wanted) and urlsplit(wanted).path not in DEAD_ENDS else "/account"


def here() -> str:
    """The address of this page, to come back to; the start, if it was the answer to a form."""
    if request.method != "GET":
        return "/"
    query = request.query_string.decode("ascii", "replace")
    return f"{request.path}?{query}" if query else request.path


def ago(seconds: int) -> str:
    """How long ago, in words."""
    passed = max(0, int(time.time()) - seconds)
    if passed < 60:
        return str(gettext("just now"))
    return str(format_timedelta(timedelta(seconds=-passed), add_direction=True, threshold=1))


def day(seconds: int) -> str:
    """The date, in UTC."""
    return str(format_date(datetime.fromtimestamp(seconds, UTC), "long"))


def now() -> int:
    return int(services().store.clock())
