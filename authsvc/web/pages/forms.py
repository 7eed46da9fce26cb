"""Views that take a form: an error is shown on the form, with the fields as they were filled in."""

from collections.abc import Callable
from functools import wraps

from flask import Response, request

from authsvc.core.errors import AuthsvcError, CrossSite, EmailTaken, StepUpRequired, TokenInvalid, Unauthenticated
from authsvc.web import errors
from authsvc.web.pages import show, words

View = Callable[[], Response]


def takes_form(
    template: str, *, keep: tuple[str, ...] = (), says: dict[str, object] | None = None
) -> Callable[[View], View]:
    """What the view raises is shown on `template`. `keep` names the fields whose values are kept: never a password.
    `says` has better sentences for some error codes."""

    def around(view: View) -> View:
        @wraps(view)
        def answer() -> Response:
            try:
                return view()
            except AuthsvcError as error:
                if _leads_elsewhere(error):
                    raise
                return _again(template, error, keep, says or {})

        return answer

    return around


def _leads_elsewhere(error: AuthsvcError) -> bool:
    """To the login, to the step-up, or to the page about links that open nothing."""
    if isinstance(error, TokenInvalid | EmailTaken):
        return bool(request.form.get("token"))
    return type(error) in (Unauthenticated, StepUpRequired, CrossSite)


def _again(template: str, error: AuthsvcError, keep: tuple[str, ...], says: dict[str, object]) -> Response:
    fields = show.fields(request.form, keep)
    page = show.page(template, errors.problem(error)["status"], fields=fields, error=words.of(error, says))
    page.headers.update(errors.headers(error))
    return page
