"""Bodies, read strictly: JSON in /api, forms on pages, both into the same pydantic models."""

import json
from typing import Annotated, Any, NoReturn, TypeVar, get_origin

from flask import request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from authsvc.core.errors import BadRequest, FieldError, InvalidFields
from authsvc.domain.links import Proof
from authsvc.web.paths import LONGEST_PATH

LARGEST_BODY = 64 * 1024

M = TypeVar("M", bound=BaseModel)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class LoginBody(Body):
    email: str = Field(min_length=1, max_length=320)
    password: str = Field(min_length=1, max_length=4096)
    remember: bool = False


class LoginForm(LoginBody):
    model_config = ConfigDict(strict=False)
    next: str = Field("", max_length=LONGEST_PATH)


class RegisterBody(Body):
    email: str = Field(min_length=1, max_length=320)
    password: str = Field(min_length=1, max_length=4096)
    name: str = Field("", max_length=200)


class EmailBody(Body):
    email: str = Field(min_length=1, max_length=320)


class ProofBody(Body):
    """The token of a mail's link, or its code with the `flow` that the call before has answered."""

    token: str = Field("", max_length=100)
    flow: str = Field("", max_length=100)
    code: str = Field("", max_length=20)

    def proof(self) -> Proof:
        """Raises InvalidFields unless it is one of the two."""
        if bool(self.token) == bool(self.flow and self.code):
            raise InvalidFields(FieldError("token", "missing", "Give the token of the link, or flow and code."))
        return Proof(self.token, self.flow, self.code)


class ResetBody(ProofBody):
    password: str = Field(min_length=1, max_length=4096)


class ChangePasswordBody(Body):
    current: str = Field(min_length=1, max_length=4096)
    password: str = Field(min_length=1, max_length=4096)


class PasswordBody(Body):
    password: str = Field(min_length=1, max_length=4096)


class StrengthBody(Body):
    password: str = Field(max_length=4096)
    email: str = Field("", max_length=320)
    name: str = Field("", max_length=200)


class TokenBody(Body):
    token: str = Field(min_length=1, max_length=100)


class AccessTokenBody(Body):
    """Without an audience the token is for us. `scope` are names with spaces between them (RFC 6749, 3.3)."""

    audience: str = Field("", max_length=2048)
    scope: str = Field("", max_length=2048)


class ApiKeyBody(Body):
    """`expires_in` in seconds; without it the key is good until it is revoked."""

    name: str = Field(min_length=1, max_length=100)
    scopes: list[Annotated[str, Field(max_length=200)]] | None = Field(None, max_length=100)
    expires_in: int | None = None


def json_body(model: type[M]) -> M:
    """The request's JSON. Raises UnsupportedMediaType, BadRequest or InvalidFields."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    try:
        parsed = json.loads(request.get_data().decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not valid JSON.") from None
    return _validated(model, parsed)


def form_body(model: type[M]) -> M:
    """The request's form, in which only a list may stand more than once. Raises UnsupportedMediaType or
    InvalidFields."""
    if request.mimetype not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        raise UnsupportedMediaType
    fields = request.form.to_dict(flat=False)
    lists = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    twice = [name for name, values in fields.items() if len(values) > 1 and name not in lists]
    if twice:
        raise InvalidFields(*(FieldError(_short(name), "duplicate", "This field was sent twice.") for name in twice))
    return _validated(model, {name: values if name in lists else values[0] for name, values in fields.items()})


def _validated(model: type[M], parsed: Any) -> M:
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidFields(*(_field_error(problem) for problem in problems)) from None


def _field_error(problem: Any) -> FieldError:
    return FieldError(_short(".".join(map(str, problem["loc"]))), problem["type"], problem["msg"])


def _short(name: str) -> str:
    return name.encode("utf-8", "replace").decode()[:100]


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
