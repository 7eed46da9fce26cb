"""Accounts, for programs: register, verify, recover, change, export, delete."""

from flask import Blueprint, Response

from authsvc.core.times import rfc3339
from authsvc.domain.sessions import Ending
from authsvc.web.answers import MailSent, ResetAllowed, TaskStarted, ended
from authsvc.web.body import (
    ChangePasswordBody,
    EmailBody,
    PasswordBody,
    ProofBody,
    RegisterBody,
    ResetBody,
    TokenBody,
    json_body,
)  # fmt: skip
from authsvc.web.guards import caller, client_ip, cookie_session, fresh, go_on, required, services
from authsvc.web.languages import chosen

blueprint = Blueprint("accounts", __name__, url_prefix="/api")


@blueprint.post("/register")
def register() -> tuple[MailSent, int]:
    """Ask for an account. The answer is the same whether or not the email is taken."""
    return {"status": "verification_sent", "flow": ask_for_account(json_body(RegisterBody))}, 202


@blueprint.post("/email/verify")
def verify() -> Response:
    """Confirm an email by the link or the code of a mail."""
    services().registration.verify(json_body(ProofBody).proof())
    return Response(status=204)


@blueprint.post("/email/change")
def change_email() -> tuple[MailSent, int]:
    """Have a mail sent to a new address, which confirms it; until then the old one stays."""
    own, body = fresh(), json_body(EmailBody)
    return {"status": "verification_sent", "flow": services().registration.change_email(own, body.email)}, 202


@blueprint.post("/password/forgot")
def forgot() -> tuple[MailSent, int]:
    """Have a mail sent that resets the password. The answer is the same whether or not there is an account."""
    return {"status": "reset_sent", "flow": services().recovery.forgot(json_body(EmailBody).email, client_ip())}, 202


@blueprint.post("/password/reset")
def reset() -> Response:
    """Set a new password by the link or the code of a mail; ends every session of the account."""
    body = json_body(ResetBody)
    return ended(services().recovery.reset(body.proof(), body.password))


@blueprint.post("/password/change")
def change_password() -> Response:
    """Set a new password; ends all other sessions, and this one goes on under a new cookie."""
    body = json_body(ChangePasswordBody)
    return ended(change_own_password(body.current, body.password))


@blueprint.post("/reauthenticate")
def reauthenticate() -> Response:
    """Prove again who you are; the session goes on under a new cookie."""
    step_up(json_body(PasswordBody).password)
    return Response(status=204)


@blueprint.post("/sessions/disown")
def disown() -> ResetAllowed:
    """End the session that a mail told of; answers a token that resets the password."""
    ending, token = services().recovery.disown(json_body(TokenBody).token)
    return {"token": token} if ending.final_by is None else {"token": token, "final_by": rfc3339(ending.final_by)}


@blueprint.post("/account/export")
def export() -> tuple[TaskStarted, int]:
    """Have everything that is held about the account packed; the task tells how far that is."""
    return {"task": services().exports.ask(required().user)}, 202


@blueprint.delete("/account")
def delete() -> Response:
    """Delete the account: all its sessions end now, and it is erased after a while unless its owner takes it back."""
    ending = services().deletions.ask(fresh().user)
    cookie_session().forget()
    return ended(ending)


@blueprint.post("/account/keep")
def keep() -> Response:
    """Take the deletion back, by the link of the mail."""
    services().deletions.keep_by_link(json_body(TokenBody).token)
    return Response(status=204)


def ask_for_account(body: RegisterBody) -> str:
    """Returns the flow that takes the code of the mail. Raises InvalidFields, RateLimited, Busy or StorageDown."""
    registration, origin = services().registration, caller().origin
    return registration.register(body.email, body.password, name=body.name, locale=chosen(), origin=origin)


def change_own_password(current: str, password: str) -> Ending:
    """Raises Unauthenticated, InvalidCredentials, RateLimited, InvalidFields, Busy or StorageDown."""
    ending, token = services().recovery.change(required(), current, password, caller())
    if token:
        go_on(token)
    else:
        cookie_session().forget()
    return ending


def step_up(password: str) -> None:
    """Raises Unauthenticated, InvalidCredentials, RateLimited, Busy or StorageDown."""
    go_on(services().login.reauthenticate(required(), password, caller()))
