"""What pages say about errors, in the reader's language. Programs get the same sentences in English (errors.py)."""

from dataclasses import dataclass
from datetime import timedelta

from flask_babel import format_timedelta, gettext, lazy_gettext

from authsvc.core.errors import AuthsvcError, FieldError, InvalidFields, RateLimited
from authsvc.web.guards import services

EMPTY = lazy_gettext("Fill this in.")
TOO_LONG = lazy_gettext("This is too long.")
FIELDS = {"missing": EMPTY, "string_too_short": EMPTY, "string_too_long": TOO_LONG}  # pydantic's codes

# The sentences of web/errors.py: HTTP_CODES, for the catalogs.
HTTP = (
    lazy_gettext("The request could not be understood."),
    lazy_gettext("There is nothing here."),
    lazy_gettext("This address does not take that method."),
    lazy_gettext("The body is larger than 64 KiB."),
    lazy_gettext("The body must be JSON, sent as application/json."),
    lazy_gettext("Something went wrong on our side."),
)

NOTICES = {
    "ended": lazy_gettext("You have been logged out. Log in again to go on."),
    "verified": lazy_gettext("Your email is confirmed. You can log in now."),
    "email": lazy_gettext("The email is confirmed."),
    "reset": lazy_gettext("Your password is changed, and every device is logged out. Log in with the new one."),
    "password": lazy_gettext("Your password is changed, and all other devices are logged out."),
    "deleted": lazy_gettext("Your account will be deleted. We have sent you a mail with a link that takes this back."),
    "revoked": lazy_gettext("The API key is revoked. It is refused from now on."),
    "withdrawn": lazy_gettext("The application is disconnected. It has to ask you again."),
    "kept": lazy_gettext("Your account stays. Nothing will be deleted."),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """An error as a form shows it: one sentence, and what is wrong with which field."""

    code: str
    sentence: str
    fields: dict[str, str]


def of(error: AuthsvcError, says: dict[str, object]) -> Shown:
    """`says` has better sentences than ours for some codes."""
    said = str(says[error.code]) if error.code in says else sentence(error.detail)
    if isinstance(error, RateLimited):
        said = f"{said} {retry(error.retry_after)}"
    wrong = error.errors if isinstance(error, InvalidFields) else ()
    return Shown(error.code, said, {field.field: of_field(field) for field in wrong})


def of_field(field: FieldError) -> str:
    if field.code == "length":
        settings = services().settings
        shortest, longest = settings.password_min, settings.password_max
        return str(
            gettext("A password has %(shortest)s to %(longest)s characters.", shortest=shortest, longest=longest)
        )
    return str(FIELDS[field.code]) if field.code in FIELDS else sentence(field.message)


def sentence(english: str) -> str:
    return str(gettext(english))


def retry(seconds: int) -> str:
    """How long to wait, in words."""
    wait = format_timedelta(timedelta(seconds=seconds), threshold=1)
    return str(gettext("You can try again in %(wait)s.", wait=wait))


def notice(key: str) -> str:
    """What has just happened, by the word in the query of the page that follows."""
    return str(NOTICES[key]) if key in NOTICES else ""
