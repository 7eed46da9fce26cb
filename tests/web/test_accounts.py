"""Accounts over JSON, with the links and codes that would be mailed."""

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from authsvc.domain import mails
from authsvc.domain.accounts import Account
from authsvc.services import Services
from authsvc.web.app import create_app
from tests.conftest import PASSWORD
from tests.mailed import code, mails_to, proof_body, token, token_to
from tests.web.conftest import cookie_of, headers, login

EMMA = {"email": "emma@example.org", "password": "emma has a long one"}
NEW_PASSWORD = "another horse, another staple"


def test_a_stranger_registers_verifies_and_logs_in(client: FlaskClient, services: Services) -> None:
    asked = client.post("/api/register", json={**EMMA, "name": "Emma"})
    assert (asked.status_code, asked.get_json()["status"]) == (202, "verification_sent")
    [mail] = mails_to(services, "emma@example.org")
    assert client.post("/api/email/verify", json={"token": token(services, mail)}).status_code == 204
    logged_in = client.post("/api/login", json=EMMA).get_json()
    assert (logged_in["user"]["email"], logged_in["user"]["name"]) == ("emma@example.org", "Emma")


def test_the_code_does_what_the_link_does(client: FlaskClient, services: Services) -> None:
    flow = client.post("/api/register", json=EMMA).get_json()["flow"]
    proof = code(services, mails_to(services, "emma@example.org")[0])
    assert proof.flow == flow
    assert client.post("/api/email/verify", json=proof_body(proof)).status_code == 204
    assert client.post("/api/login", json=EMMA).status_code == 200


def test_a_link_is_good_once(client: FlaskClient, services: Services) -> None:
    client.post("/api/register", json=EMMA)
    used = {"token": token_to(services, "emma@example.org", mails.VERIFY_EMAIL)}
    assert client.post("/api/email/verify", json=used).status_code == 204
    again = client.post("/api/email/verify", json=used)
    assert (again.status_code, again.get_json()["code"]) == (400, "token_invalid")


def test_before_the_email_is_confirmed_the_right_password_is_told_so_and_another_is_not(
    client: FlaskClient, services: Services
) -> None:
    client.post("/api/register", json=EMMA)
    refused = client.post("/api/login", json=EMMA)
    assert (refused.status_code, refused.get_json()["code"]) == (403, "email_unverified")
    wrong = client.post("/api/login", json={**EMMA, "password": "not this one"})
    assert (wrong.status_code, wrong.get_json()["code"]) == (401, "invalid_credentials")
    reminded = mails_to(services, "emma@example.org")[-1]
    assert reminded.link
    assert reminded.link[0] == refused.get_json()["flow"]
    assert client.post("/api/email/verify", json=proof_body(code(services, reminded))).status_code == 204


@pytest.mark.promise("B3")
def test_nobody_learns_from_a_registration_whether_the_email_is_taken(
    app: Flask, anna: Account, services: Services
) -> None:
    taken = app.test_client().post("/api/register", json={**EMMA, "email": anna.email})
    free = app.test_client().post("/api/register", json=EMMA)
    assert taken.status_code == free.status_code == 202
    assert headers(taken) == headers(free)
    assert {**taken.get_json(), "flow": ""} == {**free.get_json(), "flow": ""}
    assert len(taken.get_json()["flow"]) == len(free.get_json()["flow"])
    assert [mail.template for mail in mails_to(services, anna.email)] == [mails.ALREADY_REGISTERED]
    assert login(app.test_client())["user"]["id"] == anna.id  # with the password that she had before


def test_who_registers_somebody_elses_email_first_gets_nothing_of_their_account(app: Flask, services: Services) -> None:
    """Pre-hijacking: the thief's password must not be good once the owner has confirmed her own registration."""
    thief, owner = app.test_client(), app.test_client()
    thief.post("/api/register", json={"email": "emma@example.org", "password": "the password of the thief"})
    owner.post("/api/register", json=EMMA)
    hers = mails_to(services, "emma@example.org")[-1]
    owner.post("/api/email/verify", json={"token": token(services, hers)})
    assert owner.post("/api/login", json=EMMA).status_code == 200
    stolen = thief.post("/api/login", json={"email": "emma@example.org", "password": "the password of the thief"})
    assert stolen.status_code == 401
    theirs = mails_to(services, "emma@example.org")[0]
    assert thief.post("/api/email/verify", json={"token": token(services, theirs)}).status_code == 400


def test_a_code_takes_five_tries(client: FlaskClient, services: Services) -> None:
    client.post("/api/register", json=EMMA)
    proof = code(services, mails_to(services, "emma@example.org")[0])
    wrong = {"flow": proof.flow, "code": f"{(int(proof.code) + 1) % 10**6:06}"}
    assert [client.post("/api/email/verify", json=wrong).status_code for _ in range(5)] == [400] * 5
    assert client.post("/api/email/verify", json=proof_body(proof)).status_code == 400


@pytest.mark.promise("B4")
def test_guessing_the_codes_of_an_address_takes_twenty_tries_a_day_and_the_link_still_works(
    client: FlaskClient, services: Services
) -> None:
    for _ in range(5):
        client.post("/api/register", json=EMMA)
    sent = mails_to(services, "emma@example.org")
    for mail in sent[:4]:
        proof = code(services, mail)
        wrong = {"flow": proof.flow, "code": f"{(int(proof.code) + 1) % 10**6:06}"}
        assert {client.post("/api/email/verify", json=wrong).status_code for _ in range(5)} == {400}
    assert client.post("/api/email/verify", json=proof_body(code(services, sent[4]))).status_code == 400
    assert client.post("/api/email/verify", json={"token": token(services, sent[4])}).status_code == 204


def test_an_address_gets_five_mails_an_hour_and_nobody_is_told_when_it_got_them(
    client: FlaskClient, services: Services
) -> None:
    answers = [client.post("/api/register", json=EMMA) for _ in range(7)]
    assert {answer.status_code for answer in answers} == {202}
    assert len(mails_to(services, "emma@example.org")) == 5


def test_neither_a_forgotten_password_nor_a_new_email_sends_more(
    client: FlaskClient, anna: Account, services: Services
) -> None:
    login(client)
    for _ in range(7):
        assert client.post("/api/password/forgot", json={"email": anna.email}).status_code == 202
        assert client.post("/api/email/change", json={"email": "anna@new.example"}).status_code == 202
    assert len(mails_to(services, anna.email)) == len(mails_to(services, "anna@new.example")) == 5


def test_too_many_registrations_from_one_address_wait(make_services: Callable[..., Services]) -> None:
    app = create_app(make_services(register_address_limit=2))
    answers = [
        app.test_client().post("/api/register", json={**EMMA, "email": f"emma{n}@example.org"}) for n in range(3)
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert int(answers[2].headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**EMMA, "email": "not an address"}, "email"),
        ({**EMMA, "password": "too short"}, "password"),
        ({**EMMA, "password": "emma@example.org"}, "password"),
        ({**EMMA, "name": "Emma\x00"}, "name"),
        ({**EMMA, "admin": True}, "admin"),
        ({"email": "emma@example.org"}, "password"),
    ],
)
def test_a_registration_that_cannot_be_is_refused_by_field(
    client: FlaskClient, services: Services, body: dict[str, Any], field: str
) -> None:
    answer = client.post("/api/register", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.get_json()["errors"]] == [field]
    assert mails_to(services, "emma@example.org") == []


@pytest.mark.promise("R4")
def test_a_reset_sets_the_password_and_ends_every_session(app: Flask, anna: Account, services: Services) -> None:
    before, after = app.test_client(), app.test_client()
    login(before)
    asked = after.post("/api/password/forgot", json={"email": "anna@example.org"})
    assert (asked.status_code, asked.get_json()["status"]) == (202, "reset_sent")
    proof = {"token": token_to(services, anna.email, mails.RESET_PASSWORD)}
    assert after.post("/api/password/reset", json={**proof, "password": NEW_PASSWORD}).status_code == 204
    assert before.get("/api/session").status_code == 401
    assert after.post("/api/login", json={"email": anna.email, "password": PASSWORD}).status_code == 401
    assert after.post("/api/login", json={"email": anna.email, "password": NEW_PASSWORD}).status_code == 200
    assert mails_to(services, anna.email)[-2].template == mails.PASSWORD_CHANGED
    assert after.post("/api/password/reset", json={**proof, "password": PASSWORD}).status_code == 400


def test_a_password_that_is_refused_leaves_the_link_good(
    client: FlaskClient, anna: Account, services: Services
) -> None:
    client.post("/api/password/forgot", json={"email": anna.email})
    proof = {"token": token_to(services, anna.email, mails.RESET_PASSWORD)}
    assert client.post("/api/password/reset", json={**proof, "password": "short"}).status_code == 422
    assert client.post("/api/password/reset", json={**proof, "password": NEW_PASSWORD}).status_code == 204


@pytest.mark.promise("B3")
def test_nobody_learns_from_a_forgotten_password_whether_there_is_an_account(
    app: Flask, anna: Account, services: Services
) -> None:
    known = app.test_client().post("/api/password/forgot", json={"email": anna.email})
    unknown = app.test_client().post("/api/password/forgot", json={"email": "nobody@example.org"})
    odd = app.test_client().post(
        "/api/password/forgot", json={"email": "no address \ud800".encode("utf-8", "replace").decode()}
    )
    assert known.status_code == unknown.status_code == odd.status_code == 202
    assert headers(known) == headers(unknown)
    assert {**known.get_json(), "flow": ""} == {**unknown.get_json(), "flow": ""}
    assert len(mails_to(services, anna.email)) == 1
    assert mails_to(services, "nobody@example.org") == []


def test_a_link_is_for_what_it_was_sent_for(client: FlaskClient, anna: Account, services: Services) -> None:
    client.post("/api/register", json=EMMA)
    verify = token_to(services, "emma@example.org", mails.VERIFY_EMAIL)
    assert client.post("/api/password/reset", json={"token": verify, "password": NEW_PASSWORD}).status_code == 400
    client.post("/api/password/forgot", json={"email": anna.email})
    reset = token_to(services, anna.email, mails.RESET_PASSWORD)
    assert client.post("/api/email/verify", json={"token": reset}).status_code == 400
    assert client.post("/api/password/reset", json={"token": reset, "password": NEW_PASSWORD}).status_code == 204


@pytest.mark.parametrize(
    "body", [{}, {"token": ""}, {"flow": "x"}, {"code": "123456"}, {"token": "x", "flow": "y", "code": "z"}]
)
def test_a_proof_is_a_token_or_a_code_with_its_flow(client: FlaskClient, body: dict[str, str]) -> None:
    assert client.post("/api/email/verify", json=body).status_code == 422


def test_changing_the_password_ends_the_others_and_gives_this_one_a_new_cookie(
    app: Flask, anna: Account, services: Services
) -> None:
    own, other = app.test_client(), app.test_client()
    login(own), login(other)
    old_cookie = cookie_of(own)
    changed = own.post("/api/password/change", json={"current": PASSWORD, "password": NEW_PASSWORD})
    assert changed.status_code == 204
    assert cookie_of(own) != old_cookie
    assert own.get("/api/session").status_code == 200
    assert other.get("/api/session").status_code == 401
    thief = app.test_client()
    thief.set_cookie("session", old_cookie)
    assert thief.get("/api/session").status_code == 401
    assert mails_to(services, anna.email)[-1].template == mails.PASSWORD_CHANGED


@pytest.mark.usefixtures("anna")
def test_changing_the_password_needs_the_current_one(client: FlaskClient) -> None:
    login(client)
    refused = client.post("/api/password/change", json={"current": "not this one", "password": NEW_PASSWORD})
    assert (refused.status_code, refused.get_json()["code"]) == (401, "invalid_credentials")
    assert client.get("/api/session").status_code == 200


@pytest.mark.usefixtures("anna")
def test_a_new_token_is_remembered_as_long_as_the_old_one(client: FlaskClient, services: Services) -> None:
    login(client, remember=True)
    client.post("/api/reauthenticate", json={"password": PASSWORD})
    cookie = client.get_cookie("session")
    assert cookie is not None
    assert cookie.max_age is not None
    assert services.settings.absolute_remember - 60 < cookie.max_age <= services.settings.absolute_remember
    login(client)
    client.post("/api/reauthenticate", json={"password": PASSWORD})
    cookie = client.get_cookie("session")
    assert cookie is not None
    assert cookie.max_age is None


@pytest.mark.usefixtures("anna")
def test_what_changes_an_account_needs_a_recent_password(
    client: FlaskClient, make_services: Callable[..., Services]
) -> None:
    login(client)
    later = create_app(make_services(later=1800)).test_client()
    later.set_cookie("session", cookie_of(client))
    for ask in (
        lambda: later.post("/api/email/change", json={"email": "anna@example.net"}),
        lambda: later.delete("/api/account"),
    ):
        refused = ask()
        assert (refused.status_code, refused.get_json()["code"]) == (403, "step_up_required")
        assert refused.get_json()["methods"] == ["password"]
    assert later.post("/api/reauthenticate", json={"password": PASSWORD}).status_code == 204
    assert later.post("/api/email/change", json={"email": "anna@example.net"}).status_code == 202


def test_a_new_email_counts_when_it_is_confirmed_and_the_old_one_is_told(
    client: FlaskClient, anna: Account, services: Services
) -> None:
    login(client)
    assert client.post("/api/email/change", json={"email": "anna@example.net"}).status_code == 202
    assert client.get("/api/session").get_json()["user"]["email"] == "anna@example.org"
    proof = {"token": token_to(services, "anna@example.net", mails.CHANGE_EMAIL)}
    assert client.post("/api/email/verify", json=proof).status_code == 204
    assert client.get("/api/session").get_json()["user"]["email"] == "anna@example.net"
    told = mails_to(services, anna.email)[-1]
    assert (told.template, told.facts["email"]) == (mails.EMAIL_CHANGED, "anna@example.net")
    login(client, email="anna@example.net")


def test_asking_for_an_email_that_is_taken_tells_its_owner_and_nobody_else(
    client: FlaskClient, anna: Account, services: Services
) -> None:
    services.accounts.create("emma@example.org", services.hasher.hash(PASSWORD))
    login(client)
    free = client.post("/api/email/change", json={"email": "anna@example.net"}).get_json()
    taken = client.post("/api/email/change", json={"email": "emma@example.org"}).get_json()
    assert {**free, "flow": ""} == {**taken, "flow": ""}
    assert [mail.template for mail in mails_to(services, "emma@example.org")] == [mails.ALREADY_REGISTERED]


def test_a_login_from_a_new_device_is_mailed_and_disowned_by_its_link(
    app: Flask, anna: Account, services: Services
) -> None:
    own, thief = app.test_client(), app.test_client()
    login(own)
    login(own)
    assert mails_to(services, anna.email) == []  # the first login ever, and the same browser again
    login(thief)
    [mail] = mails_to(services, anna.email)
    assert mail.template == mails.NEW_DEVICE
    answer = app.test_client().post("/api/sessions/disown", json={"token": token(services, mail)})
    assert thief.get("/api/session").status_code == 401
    assert own.get("/api/session").status_code == 200
    reset = {"token": answer.get_json()["token"], "password": NEW_PASSWORD}
    assert app.test_client().post("/api/password/reset", json=reset).status_code == 204
    login_again = app.test_client().post("/api/login", json={"email": anna.email, "password": NEW_PASSWORD})
    assert login_again.status_code == 200


def test_deleting_ends_every_session_and_can_be_taken_back(app: Flask, anna: Account, services: Services) -> None:
    own, other = app.test_client(), app.test_client()
    login(own), login(other)
    assert own.delete("/api/account").status_code == 204
    assert own.get_cookie("session") is None
    assert other.get("/api/session").status_code == 401
    proof = {"token": token_to(services, anna.email, mails.ACCOUNT_DELETION)}
    assert own.post("/api/account/keep", json=proof).status_code == 204
    assert services.deletions.erase_due() == 0
    login(own)


def test_an_export_is_a_task_of_its_owner(app: Flask, anna: Account, services: Services) -> None:
    own, stranger = app.test_client(), app.test_client()
    services.accounts.create("emma@example.org", services.hasher.hash(PASSWORD))
    login(own), login(stranger, email="emma@example.org")
    task = own.post("/api/account/export").get_json()["task"]
    assert own.post("/api/account/export").get_json()["task"] == task  # while it is under way
    assert own.get(f"/api/tasks/{task}").get_json() == {"task": task, "state": "queued", "progress": 0}
    assert own.get(f"/api/tasks/{task}/result").status_code == 404
    job = services.jobs.begin(task, "message")
    assert job
    services.exports.make(job)
    done = own.get(f"/api/tasks/{task}").get_json()
    assert done == {"task": task, "state": "done", "progress": 100, "result": f"/api/tasks/{task}/result"}
    file = own.get(done["result"])
    with zipfile.ZipFile(BytesIO(file.get_data())) as archive:
        [account] = json.loads(archive.read("account.json"))
        sessions = json.loads(archive.read("sessions.json"))
    assert (account["email"], len(sessions)) == (anna.email, 1)
    assert file.headers["Cache-Control"] == "no-store"
    for path in (f"/api/tasks/{task}", done["result"]):
        assert stranger.get(path).status_code == 404
        assert app.test_client().get(path).status_code == 401
    assert stranger.delete(f"/api/tasks/{task}").status_code == 404
    assert own.delete(f"/api/tasks/{task}").status_code == 204
    assert own.get(done["result"]).status_code == 404
