"""What changes on a page by itself, in Chromium, under our own policy."""

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import EMAIL, Site, another_login, log_in, with_stream
from tests.conftest import PASSWORD


def test_a_login_elsewhere_appears_in_the_list_and_goes_again(person: Callable[..., Page], site: Site) -> None:
    page = person()
    log_in(page)
    with_stream(page)
    sid = another_login(site)
    site.deliver()
    expect(page.get_by_role("listitem")).to_have_count(2)
    page.get_by_role("button", name="End all others").focus()
    other = another_login(site)
    site.deliver()
    expect(page.get_by_role("listitem")).to_have_count(3)
    expect(page.get_by_role("button", name="End all others")).to_be_focused()
    for each in (sid, other):
        site.services.sessions.end(each)
    expect(page.get_by_role("listitem")).to_have_count(1)
    expect(page.get_by_role("button", name="End all others")).to_have_count(0)


@pytest.mark.promise("R3")
def test_a_session_that_is_ended_elsewhere_leaves_the_page_at_once(person: Callable[..., Page], site: Site) -> None:
    ended, other = person(), person()
    log_in(ended)
    with_stream(ended)
    log_in(other)
    other.get_by_role("button", name="End all others").click()
    expect(ended.get_by_role("status")).to_contain_text("You have been logged out.")
    assert ended.url == f"{site.url}/login?notice=ended&next=%2Faccount"
    ended.get_by_label("Email").fill(EMAIL)
    ended.get_by_label("Password").fill(PASSWORD)
    ended.get_by_role("button", name="Log in").click()
    expect(ended.get_by_role("heading", name="Anna Lindqvist")).to_be_visible()


@pytest.mark.promise("R3")
def test_a_logout_in_one_tab_empties_every_other_of_the_browser(person: Callable[..., Page]) -> None:
    page = person()
    log_in(page)
    tabs = [page.context.new_page() for _ in range(7)]  # more than a browser has connections to one server
    for number, tab in enumerate(tabs):
        tab.goto("/account" if number else "/account/password")
    page.get_by_role("button", name="Log out").click()
    for tab in tabs:
        expect(tab.get_by_role("status")).to_contain_text("You have been logged out.")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert page.url.endswith("/login")


def test_a_page_says_that_its_session_is_about_to_run_out_and_does_not_keep_it_alive(
    person: Callable[..., Page], site: Site
) -> None:
    page = person()
    log_in(page)
    with_stream(page)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    asked = -1
    while asked != len(requests):  # whatever it still reads anew because it has just come
        asked = len(requests)
        page.wait_for_timeout(400)
    site.bridge.sweep._clock = lambda: time.time() + site.services.settings.idle - 30
    notice = page.get_by_text("You have not been here for a while, and will be logged out in a minute.")
    expect(notice).to_be_visible()
    expect(page.get_by_text("You logged in a long time ago")).to_be_hidden()
    page.wait_for_timeout(200)
    assert requests[asked:] == []
    site.bridge.sweep._clock = time.time
    page.get_by_role("link", name="Stay logged in").click()
    expect(page.get_by_role("heading", name="Anna Lindqvist")).to_be_visible()
    expect(notice).to_be_hidden()


def test_a_new_password_leaves_the_own_tabs_where_they_are(person: Callable[..., Page], site: Site) -> None:
    page = person()
    log_in(page)
    tab = page.context.new_page()
    with_stream(page)
    tab.goto("/account/password")
    tab.get_by_label("Current password").fill(PASSWORD)
    tab.get_by_label("New password").fill("an entirely new sentence")
    tab.get_by_role("button", name="Change my password").click()
    expect(tab.get_by_role("status").first).to_contain_text("Your password is changed")
    another_login(site, password="an entirely new sentence")
    site.deliver()
    expect(page.get_by_role("listitem")).to_have_count(2)
    assert page.url == f"{site.url}/account"


def test_an_export_shows_how_far_it_is_and_then_the_file(person: Callable[..., Page], site: Site) -> None:
    page = person()
    log_in(page)
    with_stream(page)
    with page.expect_response(lambda answer: answer.request.resource_type == "xhr"):
        page.get_by_role("button", name="Request a copy").click()
    bar, job = page.get_by_role("progressbar"), site.begin_export(site.user())
    assert site.services.exports._progressed(job, 42)
    expect(bar).to_have_js_property("value", 42)
    site.services.exports.make(job)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "account.zip"
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("button", name="Request a copy")).to_be_visible()


def test_an_export_is_cancelled(person: Callable[..., Page], site: Site) -> None:
    page = person()
    log_in(page)
    page.get_by_role("button", name="Request a copy").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Request a copy")).to_be_visible()


@pytest.mark.parametrize("path", ["/register", "/account/password"])
def test_a_password_is_judged_while_it_is_typed(person: Callable[..., Page], path: str) -> None:
    page = person()
    log_in(page)
    if path == "/register":
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
    page.goto(path)
    meter = page.locator(".strength")
    expect(meter).to_be_hidden()
    field = page.locator("[data-strength]")
    field.press_sequentially("aaaaaaaaaaaa")
    expect(meter).to_be_visible()
    expect(meter).to_have_attribute("data-score", "0")
    field.fill("Nine purple lighthouses whisper in F minor")
    expect(meter).to_have_attribute("data-score", "4")
