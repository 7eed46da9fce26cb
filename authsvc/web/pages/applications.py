"""The applications that somebody has let in, and the way to take that back."""

from flask import Blueprint, Response

from authsvc.web.guards import required, services
from authsvc.web.pages.show import page, see

blueprint = Blueprint("applications", __name__)
PAGE = "/account/applications"


@blueprint.get(PAGE)
def applications() -> Response:
    own = required()
    return page("applications.html", applications=services().consents.applications(own.user))


@blueprint.post(f"{PAGE}/<client_id>/withdraw")
def withdraw(client_id: str) -> Response:
    services().consents.withdraw(required().user, client_id)
    return see(f"{PAGE}?notice=withdrawn")
