"""What changes an account: a new password, a new email, its deletion."""

from flask import Blueprint, Response

from authsvc.web.accounts import change_own_password
from authsvc.web.body import ChangePasswordBody, EmailBody, form_body
from authsvc.web.guards import cookie_session, fresh, required, services
from authsvc.web.pages.forms import takes_form
from authsvc.web.pages.login import WRONG_PASSWORD
from authsvc.web.pages.show import after, now, page, see

blueprint = Blueprint("changes", __name__)


@blueprint.get("/account/password")
def password_page() -> Response:
    required()
    return page("change_password.html")


@blueprint.post("/account/password")
@takes_form("change_password.html", says=WRONG_PASSWORD)
def change_password() -> Response:
    required()
    form = form_body(ChangePasswordBody)
    return after(change_own_password(form.current, form.password), "/account?notice=password")


@blueprint.get("/account/email")
def email_page() -> Response:
    fresh()
    return page("change_email.html")


@blueprint.post("/account/email")
@takes_form("change_email.html", keep=("email",))
def change_email() -> Response:
    flow = services().registration.change_email(fresh(), form_body(EmailBody).email)
    return see(f"/verify-email?flow={flow}")


@blueprint.get("/account/delete")
def delete_page() -> Response:
    fresh()
    return page("delete.html", delete_at=now() + services().settings.delete_after)


@blueprint.post("/account/delete")
def delete() -> Response:
    ending = services().deletions.ask(fresh().user)
    cookie_session().forget()
    return after(ending, "/login?notice=deleted")


@blueprint.post("/account/delete/cancel")
def cancel_deletion() -> Response:
    services().deletions.keep(required().user)
    return see("/account?notice=kept")
