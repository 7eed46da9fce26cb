"""Advice for whoever is about to choose a password."""

import pytest
from flask.testing import FlaskClient

from tests.conftest import PASSWORD


def test_a_good_password_is_acceptable_and_nothing_more_is_said(client: FlaskClient) -> None:
    answer = client.post("/api/password/strength", json={"password": PASSWORD})
    assert answer.status_code == 200
    assert answer.get_json() == {"score": 4, "acceptable": True, "problems": []}


@pytest.mark.parametrize(
    ("password", "code"), [("short", "length"), ("password1234", "common"), ("anna@example.org", "guessable")]
)
def test_what_would_be_refused_says_why_in_the_same_words(client: FlaskClient, password: str, code: str) -> None:
    advised = client.post("/api/password/strength", json={"password": password, "email": "anna@example.org"})
    refused = client.post("/api/register", json={"password": password, "email": "anna@example.org"})
    [problem] = advised.get_json()["problems"]
    [error] = refused.get_json()["errors"]
    assert not advised.get_json()["acceptable"]
    assert problem == {"code": code, "sentence": error["message"]}
    assert error["code"] == code
    assert password not in advised.get_data(as_text=True)


def test_a_weak_one_that_is_acceptable_gets_advice(client: FlaskClient) -> None:
    answer = client.post("/api/password/strength", json={"password": "mnbvcxzlkjhg elk"}).get_json()
    assert answer["acceptable"]
    assert answer["score"] <= 4
