"""The pages from a stranger to an account, as a person without JavaScript walks through them."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from authsvc.domain import mails
from authsvc.services import Services
from tests import mailed
from tests.conftest import PASSWORD
from tests.web.conftest import login

BODO = "bodo@example.org"
FORM = {"email": BODO, "name": "Bodo", "password": PASSWORD}


@pytest.fixture
def person(browser: Callable[[], FlaskClient]) -> FlaskClient:
    return browser()


def register(person: FlaskClient) -> str:
    """Returns the address of the page that takes the code."""
    answer = person.post("/register", data=FORM)
    assert answer.status_code == 303
    return answer.headers["Location"]


def text(person: FlaskClient, path: str) -> str:
    answer = person.get(path)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_a_stranger_registers_types_the_code_and_logs_in(services: Services, person: FlaskClient) -> None:
    assert 'href="/register"' in text(person, "/login")
    where = register(person)
    assert 'autocomplete="one-time-code" value="" class="code" inputmode="numeric"' in text(person, where)
    proof = mailed.code(services, mailed.mails_to(services, BODO)[-1])
    with_gap = f" {proof.code[:3]} {proof.code[3:]} "
    answer = person.post("/verify-email", data={"flow": where.partition("flow=")[2], "code": with_gap})
    assert answer.headers["Location"] == "/login?notice=verified"
    assert "Your email is confirmed." in text(person, "/login?notice=verified")
    assert person.post("/login", data={"email": BODO, "password": PASSWORD}).headers["Location"] == "/account"
    assert "<h1>Bodo</h1>" in text(person, "/account")


def test_a_scanner_that_opens_the_link_uses_nothing_up(services: Services, person: FlaskClient) -> None:
    register(person)
    token = mailed.token_to(services, BODO, mails.VERIFY_EMAIL)
    for _ in range(3):
        assert f'name="token" value="{token}"' in text(person, f"/verify-email?token={token}")
    assert person.post("/verify-email", data={"token": token}).headers["Location"] == "/login?notice=verified"
    again = person.post("/verify-email", data={"token": token})
    assert (again.status_code, "This link does not work" in again.get_data(as_text=True)) == (400, True)


@pytest.mark.promise("B3")
@pytest.mark.usefixtures("anna")
def test_the_page_does_not_tell_whether_an_email_is_taken(person: FlaskClient) -> None:
    free = register(person)
    taken = person.post("/register", data={**FORM, "email": "anna@example.org"}).headers["Location"]
    assert free.partition("=")[0] == taken.partition("=")[0] == "/verify-email?flow"
    pages = [text(person, where).replace(where.partition("=")[2], "") for where in (free, taken)]
    assert pages[0] == pages[1]


def test_a_wrong_code_is_said_beside_the_field_that_takes_another(person: FlaskClient) -> None:
    flow = register(person).partition("flow=")[2]
    answer = person.post("/verify-email", data={"flow": flow, "code": "000 00"})
    page = answer.get_data(as_text=True)
    assert (answer.status_code, "This code is wrong" in page) == (400, True)
    assert f'name="flow" value="{flow}"' in page
    assert person.post("/verify-email", data={"flow": flow, "code": ""}).status_code == 422


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("email", "nobody", "This is not an email address."),
        ("password", "short", "A password has 12 to 256 characters."),
        ("password", BODO, "Choose something other than your email, your name or our name."),
        ("name", "x" * 201, "This is too long."),
    ],
)
def test_a_refused_field_keeps_the_others_and_never_the_password(
    person: FlaskClient, field: str, value: str, sentence: str
) -> None:
    answer = person.post("/register", data={**FORM, field: value})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert f'<p class="wrong" id="{field}-wrong">{sentence}</p>' in page
    assert 'value="Bodo"' in page or field == "name"
    assert PASSWORD not in page
    assert 'type="password" autocomplete="new-password" aria' in page


def test_who_logs_in_before_the_email_is_confirmed_gets_the_mail_again(services: Services, person: FlaskClient) -> None:
    register(person)
    answer = person.post("/login", data={"email": BODO, "password": PASSWORD})
    sent = mailed.mails_to(services, BODO)
    assert len(sent) == 2
    assert sent[-1].link
    assert answer.headers["Location"] == f"/verify-email?flow={sent[-1].link[0]}"


def test_a_link_that_was_never_ours_leads_on(person: FlaskClient) -> None:
    for path in (
        "/verify-email",
        "/verify-email?token=x",
        "/password/reset?token=x",
        "/not-me",
        "/account/keep?token=x",
    ):
        answer = person.get(path)
        assert (answer.status_code, 'href="/register"' in answer.get_data(as_text=True)) == (400, True), path


@pytest.mark.usefixtures("anna")
def test_who_is_logged_in_needs_no_second_account(person: FlaskClient) -> None:
    login(person)
    assert person.get("/register").headers["Location"] == "/account"
