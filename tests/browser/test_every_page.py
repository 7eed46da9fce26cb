"""Every page, light at the desk and dark on a phone: nothing sticks out, and axe-core finds nothing serious."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from authsvc.domain import mails
from tests import mailed
from tests.browser.conftest import EMAIL, Site, another_login, log_in
from tests.conftest import PASSWORD

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
STICKS_OUT = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
TOO_SMALL = """() => [...document.querySelectorAll("button, a.button, input:not([type=hidden], .away)")]
    .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 44 && each.type !== "checkbox")
    .map((each) => each.outerHTML)"""
NEW = "bodo@example.org"


def strangers(page: Page, site: Site) -> Iterator[str]:
    """Shows page after page, and yields the name of each."""
    for path in ("/login", "/register", "/password/forgot", "/nothing-here", "/verify-email?token=x", "/api/docs"):
        page.goto(path)
        yield path
    page.goto("/register")
    page.get_by_label("Email").fill("nobody@nowhere@")
    page.get_by_label("Password").fill("short")
    page.evaluate("() => { document.querySelector('main form').noValidate = true; }")
    page.get_by_role("button", name="Create my account").click()
    expect(page.get_by_role("alert")).to_be_focused()
    yield "a form with errors"
    page.get_by_label("Email").fill(NEW)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create my account").click()
    expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    page.get_by_text("No mail?").click()
    yield "the code"
    page.goto(f"/verify-email?token={mailed.token_to(site.services, NEW, mails.VERIFY_EMAIL)}")
    yield "the link"
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("status")).to_contain_text("Your email is confirmed.")
    yield "the login with a notice"
    page.goto("/password/forgot")
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_label("Code")).to_be_focused()
    yield "the reset by code"
    page.goto(f"/password/reset?token={mailed.token_to(site.services, EMAIL, mails.RESET_PASSWORD)}")
    yield "the reset by link"


def owners(page: Page, site: Site) -> Iterator[str]:
    another_login(site)
    log_in(page)
    token = mailed.token_to(site.services, EMAIL, mails.NEW_DEVICE)
    yield "the account"
    page.get_by_role("button", name="Request a copy").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    yield "an export under way"
    site.services.exports.make(site.begin_export(site.user()))
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    yield "an export that is done"
    page.goto("/account/keys/new")
    yield "a key to be made"
    page.get_by_label("Name").fill("backup")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_label("Your new API key")).to_have_value(re.compile("ask_"))
    yield "a key that was made"
    page.goto("/account/keys")
    yield "the keys"
    yield from clients(page, site)
    for path in ("/account/password", "/account/email", "/reauthenticate", "/logout", "/account/delete"):
        page.goto(path)
        yield path
    page.get_by_role("button", name="Delete my account").click()
    expect(page.get_by_role("status")).to_contain_text("Your account will be deleted.")
    log_in(page)
    yield "an account that is to be deleted"
    page.goto(f"/account/keep?token={mailed.token_to(site.services, EMAIL, mails.ACCOUNT_DELETION)}")
    yield "the link that keeps it"
    page.goto(f"/not-me?token={token}")
    yield "the link that disowns a login"
    page.get_by_role("button", name="End that login").click()
    expect(page.get_by_role("heading", name="That login has been ended")).to_be_visible()
    yield "the new password after that"


def clients(page: Page, site: Site) -> Iterator[str]:
    """A client asks to be let in, and for a logout."""
    page.goto("/account/applications")
    yield "no application"
    shop = site.services.clients.create("Shop", redirect_uris=("https://shop.example/cb",))[0]
    site.services.consents.give(site.user(), shop.id, ("openid", "email"))
    page.goto("/account/applications")
    expect(page.get_by_role("button", name="Disconnect Shop")).to_be_visible()
    yield "an application"
    asked = {
        "response_type": "code", "client_id": shop.id, "redirect_uri": shop.redirect_uris[0], "scope": "openid profile",
        "code_challenge": "x" * 43, "code_challenge_method": "S256",
    }  # fmt: skip
    page.goto(f"/oauth/authorize?{urlencode(asked)}")
    expect(page.get_by_role("button", name="Do not allow")).to_be_visible()
    yield "the consent"
    page.goto(f"/oauth/logout?client_id={shop.id}")
    expect(page.get_by_text("Shop asks to log you out.")).to_be_visible()
    yield "the logout that a client asks for"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
@pytest.mark.parametrize("walk", [strangers, owners])
def test_every_page_can_be_read_and_used_by_everybody(
    person: Callable[..., Page], site: Site, walk: Callable[[Page, Site], Iterator[str]], scheme: str, width: int
) -> None:
    viewport = {"width": width, "height": 800}
    page = person(
        color_scheme=scheme, viewport=viewport, reduced_motion="reduce", bypass_csp=True
    )  # axe injects itself
    for name in walk(page, site):
        page.wait_for_load_state()  # before that it may lack its style
        found = Axe().run(page, options=WCAG)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        assert page.evaluate(STICKS_OUT) <= 0, name
        assert page.evaluate(TOO_SMALL) == [], name
