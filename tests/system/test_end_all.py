"""To end all sessions of a user ends exactly those that were alive: whoever does it, and whatever they hold open."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.conftest import PASSWORD
from tests.system.browser import Browser
from tests.system.stack import Stack
from tests.system.test_accounts import NEW_PASSWORD, link, token
from tests.system.test_live import Tab, assert_alive, assert_dead, open_tab

End = Callable[
    [Stack, str, Tab], Awaitable[int | None]
]  # ends all of an email's, of which a tab is one; tells how many


async def by_the_user(_stack: Stack, _email: str, tab: Tab) -> int | None:
    return (await tab.browser.delete("/api/sessions?all=true")).json()["ended"]  # type: ignore[no-any-return]


async def by_an_admin(stack: Stack, email: str, _tab: Tab) -> int | None:
    return stack.told("session", "end-all", "--user", email)["ended"]  # type: ignore[no-any-return]


async def by_disabling(stack: Stack, email: str, _tab: Tab) -> int | None:
    return stack.told("user", "disable", email)["ended"]  # type: ignore[no-any-return]


async def by_a_reset(stack: Stack, email: str, _tab: Tab) -> int | None:
    async with Browser(stack) as browser:
        await browser.post("/api/password/forgot", json={"email": email})
        reset = {"token": token(link(stack, email, "/password/reset")), "password": NEW_PASSWORD}
        assert (await browser.post("/api/password/reset", json=reset)).status_code == 204
    return None


@pytest.mark.promise("R7")
@pytest.mark.parametrize("end", [by_the_user, by_an_admin, by_disabling, by_a_reset])
async def test_whoever_ends_all_ends_exactly_what_was_alive(end: End, stack: Stack) -> None:
    email, other = stack.new_user(), stack.new_user()
    async with AsyncExitStack() as opened:
        tabs = [await opened.enter_async_context(open_tab(stack, email)) for _ in range(3)]
        bystander = await opened.enter_async_context(open_tab(stack, other))
        async with Browser(stack) as left:
            await left.log_in(email, PASSWORD)
            await left.post("/api/logout")
        assert _listed(stack, email) == {tab.sid for tab in tabs}
        cookies = [tab.browser.token for tab in tabs]
        tokens, kept = [await access_token(tab) for tab in tabs], await access_token(bystander)
        asks = introspection(stack)
        assert [await asks(each) for each in (*tokens, kept)] == [True] * 4

        assert await end(stack, email, tabs[0]) == (None if end is by_a_reset else 3)

        for tab, cookie in zip(tabs, cookies, strict=True):
            await assert_dead(tab, cookie)
        assert [await asks(each) for each in tokens] == [False] * 3
        assert _listed(stack, email) == set()
        await assert_alive(bystander)
        assert await asks(kept)


async def access_token(tab: Tab) -> str:
    token: str = (await tab.browser.post("/api/token", json={})).json()["access_token"]
    return token


def introspection(stack: Stack) -> Callable[[str], Awaitable[bool]]:
    """Asks as a service does whether a token is good."""
    made = stack.told("client", "create", "service", "--service")

    async def active(token: str) -> bool:
        async with httpx.AsyncClient(verify=stack.tls or True, trust_env=False, timeout=10) as http:
            answer = await http.post(
                f"{stack.url}/oauth/introspect", data={"token": token}, auth=(made["id"], made["secret"])
            )
        found: bool = answer.json()["active"]
        return found

    return active


def _listed(stack: Stack, email: str) -> set[str]:
    return {each["sid"] for each in stack.told("session", "list", "--user", email)["sessions"]}
