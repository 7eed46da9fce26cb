"""Advice for whoever is about to choose a password."""

import pytest
from flask.testing import FlaskClient

from authsvc.login.strength import STRONG
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
    answer = client.post("/api/password/strength", json={"password": "elephantgrass"}).get_json()
    assert answer["acceptable"]
    assert answer["score"] < STRONG
    assert [problem["code"] for problem in answer["problems"]] == ["common"]


@pytest.mark.parametrize("password", ["short", "password1234", "anna@example.org", "elephantgrass"])
def test_advice_is_given_in_the_language_of_the_reader(client: FlaskClient, password: str) -> None:
    body = {"password": password, "email": "anna@example.org"}
    [english] = client.post("/api/password/strength", json=body).get_json()["problems"]
    answer = client.post("/api/password/strength", json=body, headers={"Accept-Language": "zh-TW"})
    [chinese] = answer.get_json()["problems"]
    assert chinese["code"] == english["code"]
    assert english["sentence"].isascii()
    assert not chinese["sentence"].isascii()


def test_nothing_is_kept_of_a_password_that_is_only_tried(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = client.post(
        "/api/password/strength", json={"password": "kept-nowhere-7b1f", "email": "kept@nowhere.example"}
    )
    assert answer.headers.getlist("Set-Cookie") == []
    assert "nowhere" not in caplog.text + "".join(capfd.readouterr()) + answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 422), ({"password": None}, 422), ({"password": "x" * 5000}, 422), ({"password": "x" * 4096}, 200), ([], 422)],
)
def test_odd_bodies_are_refused_without_repeating_them(client: FlaskClient, body: object, status: int) -> None:
    answer = client.post("/api/password/strength", json=body)
    assert answer.status_code == status
    assert "xxx" not in answer.get_data(as_text=True)
