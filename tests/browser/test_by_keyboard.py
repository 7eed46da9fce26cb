"""Pages without a mouse, and without JavaScript."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from authsvc.domain import mails
from tests import mailed
from tests.browser.conftest import EMAIL, Site, log_in
from tests.conftest import PASSWORD

NEW = "bodo@example.org"


def test_a_stranger_registers_with_the_keyboard_alone(person: Callable[..., Page], site: Site) -> None:
    page = person()
    page.goto("/register")
    expect(page.get_by_label("Email")).to_be_focused()
    keys = page.keyboard
    keys.type(NEW)
    keys.press("Tab")
    keys.type("Bodo")
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Tab")
    expect(page.get_by_role("button", name="Show password")).to_be_focused()
    keys.press("Space")
    expect(page.get_by_label("Password")).to_have_attribute("type", "text")
    keys.press("Tab")
    keys.press("Enter")
    expect(page.get_by_label("Code")).to_be_focused()
    keys.type(mailed.code(site.services, mailed.mails_to(site.services, NEW)[-1]).code)
    keys.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Your email is confirmed.")
    expect(page.get_by_label("Email")).to_be_focused()
    keys.type(NEW)
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Bodo")).to_be_visible()
    page.reload()
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()


def test_everything_but_the_live_part_works_without_javascript(person: Callable[..., Page], site: Site) -> None:
    page = person(java_script_enabled=False)
    page.goto("/password/forgot")
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_role("button", name="Send the link").click()
    page.goto(f"/password/reset?token={mailed.token_to(site.services, EMAIL, mails.RESET_PASSWORD)}")
    page.get_by_label("New password").fill("an entirely new sentence")
    page.get_by_role("button", name="Change my password").click()
    log_in(page, password="an entirely new sentence")
    page.get_by_role("button", name="Request a copy").click()
    site.services.exports.make(site.begin_export(site.user()))
    page.get_by_role("link", name="reload it").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "account.zip"
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_the_language_chosen_at_the_foot_stays(person: Callable[..., Page]) -> None:
    page = person(locale="en-GB")
    page.goto("/login?next=/account/password")
    page.get_by_role("button", name="简体中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans-CN")
    assert page.url.endswith("/login?next=/account/password")
    page.goto("/register")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans-CN")
