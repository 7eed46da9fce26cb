"""The token endpoint (RFC 6749, 3.2). Client secrets are 256 random bits, so guessing them is not throttled."""

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from flask import Blueprint, Response, request

from authsvc.web.oauth.request import Fields
from authsvc.web.oauth.server import server

blueprint = Blueprint("token", __name__)
FORM = "application/x-www-form-urlencoded"
SERVER = server()


@blueprint.post("/oauth/token")
def token() -> Response:
    answer: Response = SERVER.create_token_response(form())
    return answer


def form() -> Fields:
    """The fields of the form; those without a value are left out (RFC 6749, 3.2). Raises InvalidRequestError."""
    if request.mimetype != FORM:
        raise InvalidRequestError(f"The body must be a form, sent as {FORM}.")
    if any(len(values) > 1 for values in request.form.listvalues()):
        raise InvalidRequestError("A parameter stands twice.")
    return {name: value for name, value in request.form.items() if value}
