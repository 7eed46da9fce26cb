import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from flask import Flask
from flask.testing import FlaskClient

from authsvc.core.crypto import new_token, write_token
from authsvc.domain.accounts import Account
from authsvc.services import Services
from authsvc.web.app import create_app
from authsvc.web.errors import HTTP_CODES
from authsvc.web.pages import words
from tests.conftest import PASSWORD
from tests.mailed import mails_to
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
    assert "<script>" not in page
    assert "<img" not in page


@pytest.mark.usefixtures("anna")
def test_every_page_of_somebody_logged_in_offers_the_logout(browser: Callable[[], FlaskClient]) -> None:
    person = browser()
    login(person)
    for path in ("/account", "/logout"):
        assert 'action="/logout"' in person.get(path).get_data(as_text=True)


def test_pages_carry_nothing_inline(app: Flask, browser: Callable[[], FlaskClient]) -> None:
    for path in ("/login", "/register", "/nothing-here", "/api/docs"):
        page = browser().get(path).get_data(as_text=True)
        assert "<style" not in page
        assert " style=" not in page
        assert " onclick=" not in page
        assert re.findall("<script.*", page) == ['<script type="module" src="/static/live.js"></script>']


def test_a_page_that_is_not_there_says_so(browser: Callable[[], FlaskClient]) -> None:
    answer = browser().get("/nothing-here")
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "There is nothing here." in answer.get_data(as_text=True)


def test_the_api_page_lists_every_call(app: Flask, browser: Callable[[], FlaskClient]) -> None:
    page = browser().get("/api/docs").get_data(as_text=True)
    for call in ("POST /api/login", "DELETE /api/sessions/{sid}", "GET /api/session"):
        assert call in page


@pytest.mark.usefixtures("anna")
def test_a_wrong_password_is_said_on_the_form_which_keeps_the_email(browser: Callable[[], FlaskClient]) -> None:
    fields = {"email": "anna@example.org", "password": "not-the-password", "remember": "true", "next": "/account"}
    answer = browser().post("/login", data=fields)
    page = answer.get_data(as_text=True)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Session realm="authsvc"')
    assert "The email or the password is wrong." in page
    assert 'value="anna@example.org"' in page
    assert 'value="true" checked' in page
    assert "not-the-password" not in page


def test_an_empty_field_is_named_and_its_place_marked(browser: Callable[[], FlaskClient]) -> None:
    answer = browser().post("/login", data={"email": "anna@example.org", "password": ""})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert '<a href="#password">Fill this in.</a>' in page
    assert 'aria-describedby="password-wrong" aria-invalid="true"' in page


@pytest.mark.usefixtures("anna")
def test_whoever_must_wait_is_told_how_long(make_services: Callable[..., Services]) -> None:
    person = create_app(make_services(login_pair_limit=1)).test_client()
    wrong = {"email": "anna@example.org", "password": "wrong"}
    person.post("/login", data=wrong)
    answer = person.post("/login", data=wrong)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 600
    assert "You can try again in 15 minutes." in answer.get_data(as_text=True)


def test_while_the_database_is_away_a_form_keeps_what_was_typed(
    services: Services, browser: Callable[[], FlaskClient]
) -> None:
    services.db.engine.dispose()
    services.db.engine.pool.connect = _away  # type: ignore[method-assign]
    answer = browser().post("/password/forgot", data={"email": "anna@example.org"})
    page = answer.get_data(as_text=True)
    assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
    assert "Try again in a moment." in page
    assert 'value="anna@example.org"' in page


def test_while_the_database_is_away_a_page_says_when_to_come_back(
    services: Services, browser: Callable[[], FlaskClient]
) -> None:
    person = browser()
    person.set_cookie("session", write_token(services.keyring, new_token()))
    services.db.engine.dispose()
    services.db.engine.pool.connect = _away  # type: ignore[method-assign]
    answer = person.get("/account")
    page = answer.get_data(as_text=True)
    assert (answer.status_code, "You can try again in 5 seconds." in page) == (503, True)


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/nothing-here", 404, "There is nothing here."),
        ("PUT", "/login", 405, "This address does not take that method."),
        ("POST", "/login", 413, "The body is larger than 64 KiB."),
        ("POST", "/register", 403, "came from another site"),
    ],
)
def test_every_error_is_a_page_that_leads_somewhere(
    browser: Callable[[], FlaskClient], method: str, path: str, status: int, sentence: str
) -> None:
    person = browser()
    body = {"data": {"email": "x" * 70_000}} if status == 413 else {}
    site = "cross-site" if status == 403 else "same-origin"
    answer = person.open(path, method=method, headers={"Sec-Fetch-Site": site}, **body)
    page = answer.get_data(as_text=True)
    assert (answer.status_code, sentence in page, '<a href="/">' in page) == (status, True, True)


def test_no_cache_keeps_a_page(browser: Callable[[], FlaskClient]) -> None:
    for path in ("/login", "/register", "/password/forgot", "/verify-email?token=x", "/account"):
        answer = browser().get(path)
        assert answer.headers.getlist("Cache-Control") == ["no-store"], path
        assert "Accept-Language" in answer.vary


def test_what_errors_say_to_people_is_in_the_catalogs() -> None:
    said = {str(sentence) for sentence in words.HTTP}
    assert {sentence for _, sentence in HTTP_CODES.values()} <= said


def test_the_language_is_chosen_at_the_foot_of_the_page_and_kept(browser: Callable[[], FlaskClient]) -> None:
    person = browser()
    assert '<html lang="en">' in person.get("/login").get_data(as_text=True)
    answer = person.post("/language", data={"lang": "zh_Hant_TW", "next": "/login?next=/account"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login?next=/account")
    assert "HttpOnly; Path=/; SameSite=Lax" in answer.headers["Set-Cookie"]
    assert '<html lang="zh-Hant-TW">' in person.get("/login", headers={"Accept-Language": "en"}).get_data(as_text=True)


def test_mails_follow_the_language_that_their_owner_chooses(
    browser: Callable[[], FlaskClient], services: Services, anna: Account
) -> None:
    person, stranger = browser(), browser()
    login(person)
    person.post("/language", data={"lang": "zh_Hans_CN", "next": "/account"})
    stranger.post("/language", data={"lang": "zh_Hant_TW", "next": "/login"})
    stranger.post("/password/forgot", data={"email": anna.email})
    assert [mail.locale for mail in mails_to(services, anna.email)] == ["zh_Hans_CN"]


def test_without_a_choice_the_browser_says_the_language(browser: Callable[[], FlaskClient]) -> None:
    page = browser().get("/login", headers={"Accept-Language": "zh-CN,en;q=0.5"}).get_data(as_text=True)
    assert '<html lang="zh-Hans-CN">' in page


@pytest.mark.promise("B8")
@pytest.mark.parametrize("next_", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_the_choice_of_a_language_leads_to_no_other_site(browser: Callable[[], FlaskClient], next_: str) -> None:
    assert browser().post("/language", data={"lang": "en", "next": next_}).headers["Location"] == "/"


def test_a_language_that_we_do_not_speak_is_refused(browser: Callable[[], FlaskClient]) -> None:
    assert browser().post("/language", data={"lang": "../../etc"}).status_code == 422


def _away() -> object:
    raise ConnectionRefusedError("no database here")


class Words(HTMLParser):
    """What a person reads on a page: its texts, and the labels that are read aloud."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._skipped = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._skipped = tag in ("style", "script")
        self.found += [value for name, value in attrs if name in ("aria-label", "placeholder", "title") and value]

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._skipped:
            self.found.append(data.strip())


@pytest.mark.usefixtures("anna")
@pytest.mark.parametrize("tag", ["zh-CN", "zh-TW"])
def test_who_reads_chinese_meets_no_english_sentence(browser: Callable[[], FlaskClient], tag: str) -> None:
    stranger, person = browser(), browser()
    for reader in (stranger, person):
        reader.environ_base["HTTP_ACCEPT_LANGUAGE"] = tag
    login(person)
    pages = {path: stranger.get(path) for path in ("/login", "/register", "/password/forgot", "/verify-email", "/none")}
    own = ("/account", "/account/email", "/account/password", "/account/delete", "/logout")
    pages |= {path: person.get(path) for path in own}
    pages["refused"] = stranger.post("/register", data={"email": "nobody", "password": "short", "name": "x" * 300})
    pages["wrong"] = stranger.post("/login", data={"email": "anna@example.org", "password": "not this one"})
    for path, answer in pages.items():
        read = [text.replace("Firefox on Linux", "") for text in Words(answer.get_data(as_text=True)).found]
        assert [text for text in read if re.search(r"[a-z]+ [a-z]+", text)] == [], path
