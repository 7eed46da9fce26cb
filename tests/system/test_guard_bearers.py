"""B6: programs with access tokens and API keys, in front of an application behind real proxies."""

import httpx
import pytest

from tests.system.browser import Browser
from tests.system.guards import Guarded, guarding, what_it_was_told, without_stores

pytestmark = pytest.mark.promise("B6")
CHALLENGE = 'Bearer realm="authsvc", error="invalid_token"'


async def own_token(browser: Browser, **wanted: str) -> str:
    token: str = (await browser.post("/api/token", json=wanted)).json()["access_token"]
    return token


async def new_key(browser: Browser) -> dict[str, str]:
    key: dict[str, str] = (await browser.post("/api/keys", json={"name": "backup"})).json()
    return key


def asked(guarded: Guarded, token: str, path: str = "/app/x") -> httpx.Response:
    """What a program gets that has this token and nothing else."""
    headers = {"Authorization": f"Bearer {token}", "X-Auth-User": "admin", "X-Auth-Session": "admin"}
    return httpx.get(f"{guarded.run.url}{path}", headers=headers, verify=guarded.run.tls or True, trust_env=False)


def refused(guarded: Guarded, token: str, path: str = "/app/x") -> bool:
    seen = len(guarded.app.seen)
    answer = asked(guarded, token, path)
    return (answer.status_code, answer.headers["WWW-Authenticate"], len(guarded.app.seen)) == (401, CHALLENGE, seen)


@pytest.mark.promise("R5")
async def test_a_program_is_let_through_until_the_logout(guarded: Guarded) -> None:
    async with Browser(guarded.run) as browser:
        sid = await browser.log_in(guarded.email)
        token = await own_token(browser)
        told = what_it_was_told(asked(guarded, token))
        assert (told["X-Auth-Email"], told["X-Auth-Session"], told["X-Auth-Amr"]) == (guarded.email, sid, "pwd")
        await browser.post("/api/logout")
    assert refused(guarded, token)


async def test_an_api_key_goes_on_after_the_logout_until_it_is_revoked(guarded: Guarded) -> None:
    async with Browser(guarded.run) as browser:
        await browser.log_in(guarded.email)
        key = await new_key(browser)
        told = what_it_was_told(asked(guarded, key["key"]))
        assert told["X-Auth-Email"] == guarded.email
        assert not told["X-Auth-Session"]  # nothing of what the client has sent
        await browser.post("/api/logout")
        assert asked(guarded, key["key"]).status_code == 200
        await browser.log_in(guarded.email)
        assert (await browser.delete(f"/api/keys/{key['id']}")).status_code == 204
    assert refused(guarded, key["key"])


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer x", "Authorization: bearer", "Authorization: Bearer {0} x",
        "Authorization: Bearer {0},x",
        "Authorization: Bearer \xff", "Authorization: Bearer x\r\nAuthorization: Bearer y",
        "Authorization: Bearer x\r\nAuthorization: Basic YTpi", "Authorization: Bearer " + "A" * 7000,
        "Authorization: Bearer " + "A" * 60_000, "Authorization:Bearer\t{0}", "Authorization: Bearer ask_" + "A" * 88,
    ],
)  # fmt: skip
async def test_a_bearer_that_is_not_good_is_refused_whatever_the_cookie(guarded: Guarded, line: str) -> None:
    async with Browser(guarded.run) as browser:
        await browser.log_in(guarded.email)
        token = await own_token(browser)
        before = len(guarded.app.seen)
        status, _ = guarded.ask(f"GET /app/x HTTP/1.1\r\n{guarded.cookie(browser)}\r\n{line.format(token)}")
    assert status in (0, 400, 401, 414, 431)
    assert len(guarded.app.seen) == before


async def test_while_no_store_can_tell_no_token_is_let_through(guarded: Guarded) -> None:
    async with Browser(guarded.run) as browser:
        await browser.log_in(guarded.email)
        token, key = await own_token(browser), (await new_key(browser))["key"]
        with without_stores(guarded.run):
            before = len(guarded.app.seen)
            assert asked(guarded, token).status_code >= 500
            assert len(guarded.app.seen) == before
        for good in (token, key):
            assert asked(guarded, good).status_code == 200


async def test_a_service_behind_nginx_takes_tokens_and_no_cookies() -> None:
    """deploy/bearer.nginx.conf."""
    with guarding("nginx") as guarded:
        async with Browser(guarded.run) as browser:
            await browser.log_in(guarded.email)
            assert (await browser.get("/service/x")).status_code == 401
            assert guarded.app.seen == []
            token, key = await own_token(browser), (await new_key(browser))["key"]
            for good in (token, key):
                assert what_it_was_told(asked(guarded, good, "/service/x"))["X-Auth-Email"] == guarded.email
                assert "Authorization" not in dict(guarded.app.seen[-1][2])
            assert refused(guarded, "x", "/service/x")
            await browser.post("/api/logout")
            assert refused(guarded, token, "/service/x")
