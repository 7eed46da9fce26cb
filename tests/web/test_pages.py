from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from authsvc.services import Services
from tests.conftest import PASSWORD
from tests.web.conftest import login


@pytest.mark.usefixtures("anna")
def test_the_start_leads_where_one_belongs(browser: Callable[[], FlaskClient]) -> None:
    person = browser()
    assert person.get("/").headers["Location"] == "/login"
    login(person)
    assert person.get("/").headers["Location"] == "/account"
    assert person.get("/login").headers["Location"] == "/account"


def test_a_stranger_is_sent_to_log_in_and_back(browser: Callable[[], FlaskClient]) -> None:
    assert browser().get("/account").headers["Location"] == "/login?next=/account"
    assert browser().post("/account/sessions/end-others", data={}).headers["Location"] == "/login"


@pytest.mark.usefixtures("anna")
def test_the_account_page_ends_one_and_ends_all_others(browser: Callable[[], FlaskClient]) -> None:
    own, one, two = browser(), browser(), browser()
    login(own)
    sid = login(one)["session"]["sid"]
    login(two)
    page = own.get("/account").get_data(as_text=True)
    assert page.count("Firefox on Linux</strong>") == 3
    assert f"/account/sessions/{sid}/end" in page
    assert own.post(f"/account/sessions/{sid}/end", data={}).headers["Location"] == "/account"
    assert one.get("/api/session").status_code == 401
    assert own.post("/account/sessions/end-others", data={}).headers["Location"] == "/account"
    assert two.get("/api/session").status_code == 401
    assert "End all others" not in own.get("/account").get_data(as_text=True)


@pytest.mark.promise("B8")
def test_what_people_call_themselves_is_text_and_not_markup(
    services: Services, browser: Callable[[], FlaskClient]
) -> None:
    name = "<script>alert(1)</script>{{7*7}}"
    services.accounts.create("x@example.org", services.hasher.hash(PASSWORD), name=name)
    person = browser()
    person.environ_base["HTTP_USER_AGENT"] = "<img src=x onerror=alert(1)>"
    login(person, "x@example.org")
    page = person.get("/account").get_data(as_text=True)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}" in page
    assert "<script" not in page
    assert "<img" not in page


@pytest.mark.usefixtures("anna")
def test_every_page_of_somebody_logged_in_offers_the_logout(browser: Callable[[], FlaskClient]) -> None:
    person = browser()
    login(person)
    for path in ("/account", "/logout"):
        assert 'action="/logout"' in person.get(path).get_data(as_text=True)


def test_pages_carry_nothing_inline(app: Flask, browser: Callable[[], FlaskClient]) -> None:
    for path in ("/login", "/nothing-here", "/api/docs"):
        page = browser().get(path).get_data(as_text=True)
        assert "<style" not in page
        assert " style=" not in page
        assert " onclick=" not in page
        assert "<script" not in page


def test_a_page_that_is_not_there_says_so(browser: Callable[[], FlaskClient]) -> None:
    answer = browser().get("/nothing-here")
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "There is nothing here." in answer.get_data(as_text=True)


def test_the_api_page_lists_every_call(app: Flask, browser: Callable[[], FlaskClient]) -> None:
    page = browser().get("/api/docs").get_data(as_text=True)
    for call in ("POST /api/login", "DELETE /api/sessions/{sid}", "GET /api/session"):
        assert call in page
