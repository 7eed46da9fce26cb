"""Long work that somebody has asked for: how far it is, and what it has made."""

from flask import Blueprint, Response, url_for

from authsvc.domain.jobs import Job
from authsvc.web.answers import Task
from authsvc.web.guards import required, services

blueprint = Blueprint("tasks", __name__, url_prefix="/api/tasks")


@blueprint.get("/<task>")
def show(task: str) -> Task:
    """How far a task of the caller is."""
    return described(services().jobs.of_user(task, required().user))


@blueprint.delete("/<task>")
def cancel(task: str) -> Response:
    """Stop a task, and forget it with what it has made."""
    services().jobs.cancel(task, required().user)
    return Response(status=204)


@blueprint.get("/<task>/result")
def result(task: str) -> Response:
    """The file that a finished task has made; it can be fetched for a day."""
    filename, body = services().exports.result(task, required().user)
    return Response(
        body, mimetype="application/zip", headers={"Content-Disposition": f"attachment; filename={filename}"}
    )


def described(job: Job) -> Task:
    state = job.state(services().store.clock())
    task: Task = {"task": job.id, "state": state, "progress": job.progress}
    if state == "done":
        task["result"] = url_for("tasks.result", task=job.id)
    if state == "failed":
        task["error"] = "It failed several times. Whoever runs this service can see why."
    return task
