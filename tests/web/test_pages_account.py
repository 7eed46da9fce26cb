"""The pages on which somebody looks after their own account."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient

from authsvc.domain import mails
from authsvc.domain.accounts import Account
from authsvc.domain.jobs import EXPORT
from authsvc.services import Services
from authsvc.web.app import create_app
from tests import mailed
from tests.conftest import PASSWORD
from tests.web.conftest import cookie_of, login

ANNA = "anna@example.org"
NEW = "an entirely new sentence"


@pytest.fixture
def person(browser: Callable[[], FlaskClient], anna: Account) -> FlaskClient:
    made = browser()
    login(made)
    return made


@dataclass
class Later:
    """The clock of a service some time from now."""

    services: Services
    seconds: int

    def __call__(self) -> float:
        return self.services.store.clock() + self.seconds


def text(person: FlaskClient, path: str = "/account") -> str:
    answer = person.get(path)
    assert answer.status_code == 200, answer.headers.get("Location")
    return answer.get_data(as_text=True)


def test_a_stranger_sees_none_of_it(browser: Callable[[], FlaskClient]) -> None:
    for path in ("/account/password", "/account/email", "/account/delete", "/reauthenticate"):
        assert browser().get(path).headers["Location"] == f"/login?next={path}"
    for path in ("/account/password", "/account/email", "/account/delete", "/account/export", "/account/delete/cancel"):
        assert browser().post(path, data={}).headers["Location"] == "/login"


def test_old_addresses_lead_to_their_part_of_the_page(person: FlaskClient) -> None:
    page = text(person)
    for part in ("sessions", "security"):
        assert person.get(f"/account/{part}").headers["Location"] == f"/account#{part}"
        assert f'id="{part}"' in page


@pytest.mark.promise("B2")
def test_a_changed_password_ends_the_others_and_gives_this_one_a_new_cookie(
    person: FlaskClient, browser: Callable[[], FlaskClient]
) -> None:
    other, before = browser(), cookie_of(person)
    login(other)
    answer = person.post("/account/password", data={"current": PASSWORD, "password": NEW})
    assert answer.headers["Location"] == "/account?notice=password"
    assert "all other devices are logged out" in text(person, "/account?notice=password")
    assert cookie_of(person) != before
    assert other.get("/api/session").status_code == 401


def test_a_wrong_password_changes_nothing(person: FlaskClient) -> None:
    answer = person.post("/account/password", data={"current": "wrong", "password": NEW})
    page = answer.get_data(as_text=True)
    assert (answer.status_code, "The password is wrong." in page) == (401, True)
    assert NEW not in page


def test_a_new_email_counts_when_it_is_confirmed(services: Services, person: FlaskClient) -> None:
    answer = person.post("/account/email", data={"email": "new@example.org"})
    flow = answer.headers["Location"].removeprefix("/verify-email?flow=")
    assert ANNA in text(person)
    proof = mailed.code(services, mailed.mails_to(services, "new@example.org")[-1])
    assert proof.flow == flow
    answer = person.post("/verify-email", data={"flow": flow, "code": proof.code})
    assert answer.headers["Location"] == "/account?notice=email"
    assert "new@example.org" in text(person)


def test_an_odd_email_is_refused_on_the_form(person: FlaskClient) -> None:
    answer = person.post("/account/email", data={"email": "nobody"})
    assert (answer.status_code, 'value="nobody"' in answer.get_data(as_text=True)) == (422, True)


@pytest.fixture
def later(services: Services, settings: object, make_services: Callable[..., Services]) -> Callable[[int], Flask]:
    """The same service, when some seconds have passed."""

    def make(seconds: int) -> Flask:
        parts = make_services()
        parts.store.clock = Later(services, seconds)
        return create_app(parts)

    return make


@pytest.mark.promise("B2")
@pytest.mark.parametrize("path", ["/account/email", "/account/delete"])
def test_what_changes_the_account_asks_for_the_password_after_a_while(
    person: FlaskClient, later: Callable[[int], Flask], path: str
) -> None:
    again = later(3600).test_client()
    again.environ_base["HTTP_SEC_FETCH_SITE"] = "same-origin"
    again.set_cookie("session", cookie_of(person))
    for answer in (again.get(path), again.post(path, data={"email": "new@example.org"})):
        assert answer.headers["Location"] == f"/reauthenticate?next={path}"
    assert ANNA in text(again, f"/reauthenticate?next={path}")
    wrong = again.post("/reauthenticate", data={"password": "wrong", "next": path})
    assert (wrong.status_code, f'value="{path}"' in wrong.get_data(as_text=True)) == (401, True)
    before = cookie_of(again)
    assert again.post("/reauthenticate", data={"password": PASSWORD, "next": path}).headers["Location"] == path
    assert cookie_of(again) != before
    assert again.get(path).status_code == 200


@pytest.mark.promise("B8")
def test_a_step_up_leads_to_no_other_site(person: FlaskClient) -> None:
    answer = person.post("/reauthenticate", data={"password": PASSWORD, "next": "//evil.example"})
    assert answer.headers["Location"] == "/account"
    assert (
        person.get("/login?reauth=1&next=/account/email").headers["Location"] == "/reauthenticate?next=/account/email"
    )


def test_a_deletion_can_be_taken_back_on_the_account_page(person: FlaskClient) -> None:
    assert "Delete my account" in text(person, "/account/delete")
    assert person.post("/account/delete", data={}).headers["Location"] == "/login?notice=deleted"
    assert person.get_cookie("session") is None
    login(person)
    assert "This account will be erased on" in text(person)
    assert person.post("/account/delete/cancel", data={}).headers["Location"] == "/account?notice=kept"
    assert "This account will be erased on" not in text(person)


def test_a_deletion_can_be_taken_back_by_the_link_of_the_mail(
    services: Services, person: FlaskClient, anna: Account
) -> None:
    person.post("/account/delete", data={})
    token = mailed.token_to(services, ANNA, mails.ACCOUNT_DELETION)
    assert "Keep my account" in text(person, f"/account/keep?token={token}")
    assert services.deletions.due(anna.id)
    assert person.post("/account/keep", data={"token": token}).headers["Location"] == "/login?notice=kept"
    assert services.deletions.due(anna.id) is None


def test_an_export_is_asked_for_followed_and_downloaded(services: Services, person: FlaskClient, anna: Account) -> None:
    assert person.post("/account/export", data={}).headers["Location"] == "/account#data"
    task = services.jobs.newest(EXPORT, anna.id)
    assert task
    assert f'<progress id="task-{task.id}"' in text(person)
    begun = services.jobs.begin(task.id, "a worker")
    assert begun
    services.exports.make(begun)
    assert f'href="/api/tasks/{task.id}/result"' in text(person)
    assert person.get(f"/api/tasks/{task.id}/result").mimetype == "application/zip"
    assert person.post("/account/export/cancel", data={"task": task.id}).headers["Location"] == "/account#data"
    assert "Request a copy" in text(person)


def test_an_export_whose_file_has_expired_can_be_asked_for_again(
    services: Services, person: FlaskClient, later: Callable[[int], Flask], anna: Account
) -> None:
    person.post("/account/export", data={})
    task = services.jobs.newest(EXPORT, anna.id)
    assert task
    begun = services.jobs.begin(task.id, "a worker")
    assert begun
    services.exports.make(begun)
    tomorrow = later(86_400 + 60).test_client()
    login(tomorrow)
    assert "Request a copy" in text(tomorrow)


def test_a_failed_export_says_so_and_can_be_asked_for_again(
    services: Services, person: FlaskClient, anna: Account
) -> None:
    person.post("/account/export", data={})
    task = services.jobs.newest(EXPORT, anna.id)
    assert task
    services.jobs.bury(task.id, "no room")
    page = text(person)
    assert "The copy could not be made." in page
    assert "Request a copy" in page


def test_nobody_cancels_the_export_of_another(
    services: Services, person: FlaskClient, browser: Callable[[], FlaskClient], anna: Account
) -> None:
    person.post("/account/export", data={})
    task = services.jobs.newest(EXPORT, anna.id)
    assert task
    services.accounts.create("eve@example.org", services.hasher.hash(PASSWORD))
    eve = browser()
    login(eve, "eve@example.org")
    assert eve.post("/account/export/cancel", data={"task": task.id}).status_code == 404
    assert services.jobs.newest(EXPORT, anna.id) == task
