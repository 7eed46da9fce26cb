"""The pages for a forgotten password and for a login that was somebody else's."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from authsvc.domain import mails
from authsvc.services import Services
from tests import mailed
from tests.web.conftest import login

ANNA = "anna@example.org"
NEW = "an entirely new sentence"
pytestmark = pytest.mark.usefixtures("anna")


@pytest.fixture
def person(browser: Callable[[], FlaskClient]) -> FlaskClient:
    return browser()


def forget(person: FlaskClient, email: str = ANNA) -> str:
    """Returns the flow."""
    answer = person.post("/password/forgot", data={"email": email})
    assert answer.status_code == 303
    return answer.headers["Location"].removeprefix("/password/reset?flow=")


def logs_in(person: FlaskClient, password: str) -> bool:
    return person.post("/login", data={"email": ANNA, "password": password}).status_code == 303


@pytest.mark.promise("R1")
def test_a_link_sets_a_new_password_and_logs_everybody_out(services: Services, person: FlaskClient) -> None:
    login(person)
    forget(person)
    token = mailed.token_to(services, ANNA, mails.RESET_PASSWORD)
    assert person.get(f"/password/reset?token={token}").status_code == 200
    answer = person.post("/password/reset", data={"token": token, "password": NEW})
    assert answer.headers["Location"] == "/login?notice=reset"
    assert "Your password is changed" in person.get("/login?notice=reset").get_data(as_text=True)
    assert logs_in(person, NEW)


def test_the_code_does_the_same_on_the_page_that_asked_for_it(services: Services, person: FlaskClient) -> None:
    flow = forget(person)
    proof = mailed.code(services, mailed.mails_to(services, ANNA)[-1])
    assert proof.flow == flow
    short = person.post("/password/reset", data={"flow": flow, "code": proof.code, "password": "short"})
    assert (short.status_code, f'value="{flow}"' in short.get_data(as_text=True)) == (422, True)
    answer = person.post("/password/reset", data={"flow": flow, "code": proof.code, "password": NEW})
    assert answer.headers["Location"] == "/login?notice=reset"
    assert logs_in(person, NEW)


def test_a_wrong_code_changes_nothing(person: FlaskClient) -> None:
    flow = forget(person)
    answer = person.post("/password/reset", data={"flow": flow, "code": "0", "password": NEW})
    assert (answer.status_code, "This code is wrong" in answer.get_data(as_text=True)) == (400, True)
    assert not logs_in(person, NEW)


@pytest.mark.promise("B3")
def test_the_page_does_not_tell_whether_there_is_an_account(person: FlaskClient) -> None:
    pages = []
    for email in (ANNA, "nobody@example.org"):
        flow = forget(person, email)
        pages.append(person.get(f"/password/reset?flow={flow}").get_data(as_text=True).replace(flow, ""))
    assert pages[0] == pages[1]


def test_a_reset_without_a_mail_begins_with_the_mail(person: FlaskClient) -> None:
    assert person.get("/password/reset").headers["Location"] == "/password/forgot"


@pytest.mark.promise("R1")
def test_a_disowned_login_ends_and_the_password_is_changed_on_the_same_page(
    services: Services, browser: Callable[[], FlaskClient]
) -> None:
    login(browser())  # the first login of all is told to nobody
    thief, owner = browser(), browser()
    login(thief)
    token = mailed.token_to(services, ANNA, mails.NEW_DEVICE)
    assert "End that login" in owner.get(f"/not-me?token={token}").get_data(as_text=True)
    assert thief.get("/api/session").status_code == 200
    answer = owner.post("/not-me", data={"token": token})
    page = answer.get_data(as_text=True)
    assert (answer.status_code, "That login has been ended" in page) == (200, True)
    assert thief.get("/api/session").status_code == 401
    reset = page.partition('name="token" value="')[2].partition('"')[0]
    assert owner.post("/password/reset", data={"token": reset, "password": NEW}).status_code == 303
    assert logs_in(owner, NEW)
    assert owner.post("/not-me", data={"token": token}).status_code == 400
