"""The pages for people: plain HTML and forms, which work without JavaScript. A POST answers 303, or the same form again
with what is wrong (forms.py)."""

from flask import Blueprint, Response

from authsvc.core.errors import EmailTaken, StepUpRequired, TokenInvalid, Unauthenticated
from authsvc.web.guards import cookie_session
from authsvc.web.pages import account, applications, changes, export, keys, language, login, recovery, register, show

blueprint = Blueprint("pages", __name__)
for room in (login, register, recovery, account, applications, keys, changes, export, language):
    blueprint.register_blueprint(room.blueprint)

blueprint.register_error_handler(Unauthenticated, login.to_login)
blueprint.register_error_handler(StepUpRequired, login.to_reauthenticate)
blueprint.register_error_handler(TokenInvalid, recovery.dead_link)
blueprint.register_error_handler(EmailTaken, recovery.dead_link)
show.install(blueprint)


@blueprint.after_request
def keep_private(response: Response) -> Response:
    """Pages hold addresses, and tokens of mails: no cache may keep them. Where the session was opened, cookie.py says
    the same."""
    response.vary.add("Accept-Language")
    if not cookie_session().opened:
        response.headers["Cache-Control"] = "no-store"
    return response
