"""`authsvc job`: what waits to be done, and what could not be."""

import time
from typing import TYPE_CHECKING, Any

import click

from authsvc.cli.answer import Answer, answers, opened, table, when

if TYPE_CHECKING:
    from authsvc.domain.jobs import Job

job_id = click.argument("job_id", metavar="ID")
group_settings = {"ignore_unknown_options": True}  # an id may begin with a dash


@click.group()
def job() -> None:
    """What waits to be done, and what could not be: mails, exports, the clean-up."""


@job.command("list")
@click.option("--dead", is_flag=True, help="Only those that are tried no more, the dead letters.")
@answers
def list_(dead: bool) -> Answer:
    """List the jobs that are still open and the dead letters, oldest first."""
    with opened() as services:
        listed = services.jobs.listed(dead=True)
        listed += [] if dead else services.jobs.listed(dead=False)
    rows = [
        (each.id, each.kind, _state(each), str(each.attempts), when(each.created) or "", each.error or "")
        for each in listed
    ]
    text = table(("ID", "KIND", "STATE", "TRIES", "CREATED", "LAST ERROR"), rows) if rows else "No job waits."
    return Answer({"jobs": [_data(each) for each in listed]}, text)


@job.command(context_settings=group_settings)
@job_id
@answers
def show(job_id: str) -> Answer:
    """Show one job, with what it is about."""
    with opened() as services:
        shown = services.jobs.get(job_id)
    data = {**_data(shown), "data": shown.data}
    return Answer(data, "\n".join(f"{name:<9} {value}" for name, value in data.items() if value is not None))


@job.command(context_settings=group_settings)
@job_id
@answers
def retry(job_id: str) -> Answer:
    """Try a dead letter again from the beginning."""
    with opened() as services:
        services.jobs.retry(job_id)
    return Answer({"id": job_id, "state": "queued"}, "It is tried again.")


@job.command(context_settings=group_settings)
@job_id
@answers
def drop(job_id: str) -> Answer:
    """Forget a dead letter."""
    with opened() as services:
        services.jobs.drop(job_id)
    return Answer({"id": job_id, "dropped": True}, "It is forgotten.")


def _state(job: "Job") -> str:
    return "dead" if job.dead is not None else job.state(time.time())


def _data(job: "Job") -> dict[str, Any]:
    """What everybody may see who looks after the service: not to whom a mail goes."""
    return {
        "id": job.id,
        "kind": job.kind,
        "state": _state(job),
        "user": job.user,
        "created": when(job.created),
        "due": when(job.due),
        "attempts": job.attempts,
        "error": job.error,
        "dead": when(job.dead),
    }
