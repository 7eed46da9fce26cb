"""`/api/openapi.json` (OpenAPI 3.1) and the same on a page, from the routes, their docstrings and the models."""

from functools import cache
from typing import Any, NamedTuple

from flask import Blueprint, Flask, Response, current_app, jsonify, make_response, render_template
from pydantic import BaseModel, TypeAdapter

from authsvc.web.answers import (
    AccessToken,
    ApiKeyList,
    Ended,
    EndingSoon,
    MailSent,
    NewApiKey,
    ResetAllowed,
    SessionList,
    StrengthInfo,
    Task,
    TaskStarted,
    Whoami,
)
from authsvc.web.body import (
    AccessTokenBody,
    ApiKeyBody,
    ChangePasswordBody,
    EmailBody,
    LoginBody,
    PasswordBody,
    ProofBody,
    RegisterBody,
    ResetBody,
    StrengthBody,
    TokenBody,
)  # fmt: skip
from authsvc.web.guards import services

blueprint = Blueprint("openapi", __name__, url_prefix="/api")


class Described(NamedTuple):
    """What cannot be read off the route: body, answers by status, errors by status, and whether a cookie is needed."""

    answers: dict[int, Any]
    errors: tuple[int, ...]
    body: type[BaseModel] | None = None
    cookie: bool = True
    query: dict[str, Any] | None = None


DESCRIBED = {
    "login.login": Described({200: Whoami}, (400, 401, 403, 413, 415, 422, 429, 503), LoginBody, cookie=False),
    "login.logout": Described({204: None, 202: EndingSoon}, (403, 413, 503), cookie=False),
    "sessions.show": Described({200: Whoami}, (401, 503)),
    "sessions.index": Described({200: SessionList}, (401, 503)),
    "sessions.end": Described({204: None, 202: EndingSoon}, (401, 403, 404, 413, 503)),
    "sessions.end_others": Described(
        {200: Ended, 202: EndingSoon}, (401, 403, 413, 422, 503), query={"all": {"type": "boolean"}}
    ),
    "accounts.register": Described({202: MailSent}, (400, 403, 413, 415, 422, 429, 503), RegisterBody, cookie=False),
    "accounts.verify": Described({204: None}, (400, 403, 409, 413, 415, 422, 503), ProofBody, cookie=False),
    "accounts.change_email": Described({202: MailSent}, (400, 401, 403, 413, 415, 422, 503), EmailBody),
    "accounts.forgot": Described({202: MailSent}, (400, 403, 413, 415, 422, 503), EmailBody, cookie=False),
    "accounts.reset": Described({204: None, 202: EndingSoon}, (400, 403, 413, 415, 422, 503), ResetBody, cookie=False),
    "accounts.change_password": Described(
        {204: None, 202: EndingSoon}, (400, 401, 403, 413, 415, 422, 429, 503), ChangePasswordBody
    ),
    "accounts.reauthenticate": Described({204: None}, (400, 401, 403, 413, 415, 422, 429, 503), PasswordBody),
    "accounts.disown": Described({200: ResetAllowed}, (400, 403, 413, 415, 422, 503), TokenBody, cookie=False),
    "accounts.export": Described({202: TaskStarted}, (401, 403, 413, 503)),
    "accounts.delete": Described({204: None, 202: EndingSoon}, (401, 403, 413, 503)),
    "accounts.keep": Described({204: None}, (400, 403, 413, 415, 422, 503), TokenBody, cookie=False),
    "tokens.create": Described({200: AccessToken}, (400, 401, 403, 413, 415, 422, 503), AccessTokenBody),
    "keys.create": Described({201: NewApiKey}, (400, 401, 403, 409, 413, 415, 422, 503), ApiKeyBody),
    "keys.index": Described({200: ApiKeyList}, (401, 503)),
    "keys.revoke": Described({204: None}, (401, 403, 404, 413, 503)),
    "passwords.strength": Described({200: StrengthInfo}, (400, 403, 413, 415, 422), StrengthBody, cookie=False),
    "tasks.show": Described({200: Task}, (401, 404, 503)),
    "tasks.cancel": Described({204: None}, (401, 403, 404, 413, 503)),
    "tasks.result": Described({200: bytes}, (401, 404, 503)),
}
PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "methods": {"type": "array", "items": {"type": "string"}},
        "flow": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "message"],
                "properties": {name: {"type": "string"} for name in ("field", "code", "message")},
            },
        },
    },
}


@blueprint.get("/openapi.json")
def document() -> Response:
    return jsonify(_document())


@blueprint.get("/docs")
def page() -> Response:
    return make_response(render_template("docs.html", document=_document()))


def _document() -> dict[str, Any]:
    return describe(current_app, services().settings.public_url, services().settings.cookie_name)


@cache
def describe(app: Flask, server: str, cookie: str) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for rule in app.url_map.iter_rules():
        if described := DESCRIBED.get(rule.endpoint):
            path = rule.rule.replace("<", "{").replace(">", "}")
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            for method in methods:
                paths.setdefault(path, {})[method.lower()] = _operation(app, rule.endpoint, rule.arguments, described)
    return {
        "openapi": "3.1.0",
        "info": {"title": "authsvc", "version": "1", "description": "Sessions: log in, be known, log out."},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM},
            "securitySchemes": {"cookie": {"type": "apiKey", "in": "cookie", "name": cookie}},
        },
    }


def _operation(app: Flask, endpoint: str, arguments: set[str], described: Described) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint,
        "summary": (app.view_functions[endpoint].__doc__ or "").strip(),
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in arguments),
            *({"name": name, "in": "query", "schema": schema} for name, schema in (described.query or {}).items()),
        ],
        "responses": {
            **{str(status): _answer(status, shape) for status, shape in described.answers.items()},
            **{str(status): _problem(status) for status in described.errors},
        },
        "security": [{"cookie": []}] if described.cookie else [],
    }
    if described.body:
        schema = described.body.model_json_schema()
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _answer(status: int, shape: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": {202: "Ending", 204: "Done"}.get(status, "Done")}
    if shape is bytes:
        answer["content"] = {"application/zip": {}}
    elif shape is not None:
        answer["content"] = {"application/json": {"schema": _schema(shape)}}
    return answer


def _schema(shape: Any) -> dict[str, Any]:
    return TypeAdapter(shape).json_schema(mode="serialization")


def _problem(status: int) -> dict[str, Any]:
    reference = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {"description": f"Problem ({status})", "content": {"application/problem+json": reference}}
