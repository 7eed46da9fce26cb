"""Advice for whoever is about to choose a password."""

from flask import Blueprint

from authsvc.core.errors import InvalidFields
from authsvc.login.password import check_policy
from authsvc.login.strength import estimate
from authsvc.web.answers import Problem, StrengthInfo
from authsvc.web.body import StrengthBody, json_body
from authsvc.web.guards import services
from authsvc.web.pages import words

blueprint = Blueprint("passwords", __name__, url_prefix="/api/password")


@blueprint.post("/strength")
def strength() -> StrengthInfo:
    """How hard a password is to guess, and whether it would be taken. Nothing is kept of it. The sentences are in the
    reader's language."""
    body = json_body(StrengthBody)
    problems = refusals(body)
    found = estimate(body.password, email=body.email, name=body.name)
    if found.advice and not problems:
        code, sentence = found.advice
        return {
            "score": found.score,
            "acceptable": True,
            "problems": [{"code": code, "sentence": words.sentence(sentence)}],
        }
    return {"score": found.score, "acceptable": not problems, "problems": problems}


def refusals(body: StrengthBody) -> list[Problem]:
    try:
        check_policy(services().settings, body.password, email=body.email, name=body.name)
    except InvalidFields as error:
        return [{"code": field.code, "sentence": words.of_field(field)} for field in error.errors]
    return []
