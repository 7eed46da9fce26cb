"""A copy of everything that we hold about an account. How far it is, live.js shows."""

from flask import Blueprint, Response
from pydantic import Field

from authsvc.web.body import Body, form_body
from authsvc.web.guards import required, services
from authsvc.web.pages.show import see

blueprint = Blueprint("export", __name__)


class TaskForm(Body):
    task: str = Field(min_length=1, max_length=100)


@blueprint.post("/account/export")
def ask() -> Response:
    services().exports.ask(required().user)
    return see("/account#data")


@blueprint.post("/account/export/cancel")
def cancel() -> Response:
    services().jobs.cancel(form_body(TaskForm).task, required().user)
    return see("/account#data")
