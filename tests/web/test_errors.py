from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from authsvc.core.errors import AuthsvcError
from authsvc.web.errors import STATUS


def every(error: type[AuthsvcError]) -> Iterator[type[AuthsvcError]]:
    for child in error.__subclasses__():
        yield child
        yield from every(child)


def test_every_error_has_a_status_a_word_and_a_sentence() -> None:
    errors = list(every(AuthsvcError))
    assert set(errors) == set(STATUS)
    for error in errors:
        assert error.code.isidentifier()
        assert error.sentence.endswith(".")
    codes = [error.code for error in errors if "code" in vars(error)]
    assert len(codes) == len(set(codes))


def test_the_tree_in_the_docstring_is_the_tree_of_the_code() -> None:
    import authsvc.core.errors as module

    assert module.__doc__
    for error in every(AuthsvcError):
        assert error.__name__ == "RetryLater" or f" {error.__name__} " in module.__doc__


@pytest.mark.parametrize(
    ("path", "body", "status", "field", "code"),
    [
        ("/api/login", b'{"email": "canary-1", "password": 7}', 422, "password", "string_type"),
        ("/api/login", b'{"email": "a@b.c", "password": "x", "canary-1": 1}', 422, "canary-1", "extra_forbidden"),
        ("/api/login", b'{"email": "a@b.c", "password": "x", "remember": "yes"}', 422, "remember", "bool_type"),
        ("/api/login", b"[]", 422, "", "model_type"),
        ("/api/login", b"null", 422, "", "model_type"),
    ],
)
def test_a_refused_field_is_named_and_its_value_never_repeated(
    client: FlaskClient, path: str, body: bytes, status: int, field: str, code: str
) -> None:
    answer = client.post(path, data=body, content_type="application/json")
    problem = answer.get_json()
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert {"type", "title", "status", "detail", "code", "errors"} == set(problem)
    assert problem["type"] == "/errors/invalid_fields"
    assert [(error["field"], error["code"]) for error in problem["errors"]] == [(field, code)]
    assert field == "canary-1" or "canary-1" not in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a": NaN}', b'{"a": 1, "a": 1}', b"\xff", b"\xef\xbb\xbf{}", b"[" * 60_000, b"1" * 5000, b"{} {}"],
)
def test_what_is_not_json_is_400(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/api/login", data=body, content_type="application/json")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "bad_request")


def test_a_bug_is_a_500_that_tells_nothing(app: Flask) -> None:
    app.add_url_rule("/api/bug", view_func=lambda: {}["canary-2"])
    app.testing = False
    answer = app.test_client().get("/api/bug")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    assert "canary-2" not in answer.get_data(as_text=True)


def test_a_problem_outside_the_api_is_a_page_unless_json_is_asked_for(client: FlaskClient) -> None:
    assert client.get("/nothing").mimetype == "text/html"
    assert client.get("/nothing", headers={"Accept": "application/json"}).mimetype == "application/problem+json"
