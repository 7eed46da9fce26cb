"""The page of somebody's own account, and the list of where they are logged in."""

from flask import Blueprint, Response

from authsvc.domain.exports import KEPT
from authsvc.domain.jobs import EXPORT, Job
from authsvc.web.guards import required, services
from authsvc.web.pages.show import after, now, page, see
from authsvc.web.sessions import end_one

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
def account() -> Response:
    own, parts = required(), services()
    return page(
        "account.html",
        own=own,
        sessions=sorted(parts.sessions.of_user(own.user), key=lambda listed: listed.sid != own.sid),
        delete_at=parts.deletions.due(own.user),
        task=task_to_show(parts.jobs.newest(EXPORT, own.user), now()),
        now=now(),
    )


@blueprint.get("/account/sessions")
def sessions() -> Response:
    return see("/account#sessions")


@blueprint.get("/account/security")
def security() -> Response:
    return see("/account#security")


@blueprint.post("/account/sessions/<sid>/end")
def end_session(sid: str) -> Response:
    return after(end_one(sid), "/account")


@blueprint.post("/account/sessions/end-others")
def end_others() -> Response:
    own = required()
    return after(services().sessions.end_others(own.user, keep=own.sid), "/account")


def task_to_show(task: Job | None, now: int) -> Job | None:
    """The last export, until its file has expired."""
    if task is None or (task.done is not None and task.done + KEPT <= now):
        return None
    return task
