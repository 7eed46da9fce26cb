"""Clients that were not written for us log people in, go on, and are told of the logout: openid-client (Node), Authlib.
The whole service is as its operators start it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from authlib.integrations.requests_client import OAuth2Session

from tests.servers import wait_for
from tests.system.browser import Browser
from tests.system.relying_party import NodeClient, Refused, node_client
from tests.system.stack import Stack

REDIRECT = "http://127.0.0.1:9/callback"  # nobody listens: the test takes the address that a browser is sent to
AFTERWARDS = "http://127.0.0.1:9/goodbye"
SCOPE = "openid profile email offline_access"


class Backchannel:
    """The address at which a client is told of logouts."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        tokens = self.tokens

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                tokens.append(parse_qs(body)["logout_token"][0])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_address[1]}/logout"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def backchannel() -> Iterator[Backchannel]:
    running = Backchannel()
    yield running
    running.server.shutdown()
    running.server.server_close()


def register(stack: Stack, *options: str) -> dict[str, Any]:
    """A client of our own: id and secret."""
    made: dict[str, Any] = stack.told(
        "client", "create", "Notes", "--redirect-uri", REDIRECT, "--logout-uri", AFTERWARDS, "--first-party", *options
    )
    return made


async def visit(browser: Browser, url: str) -> str:
    """The address of the client to which the browser is sent at last, within the service's own pages."""
    for _ in range(5):
        answer = await browser.get(url)
        assert answer.status_code in (302, 303), answer.text
        url = answer.headers["Location"]
        if not url.startswith(("/", browser.stack.url)):
            return url
    raise AssertionError(url)


async def log_in_at(client: NodeClient, browser: Browser, **more: Any) -> dict[str, Any]:
    url = client.do("start", redirect_uri=REDIRECT, scope=SCOPE, **more)
    tokens: dict[str, Any] = client.do("finish", url=await visit(browser, url))
    return tokens


@pytest.mark.promise("R1")
async def test_openid_client_logs_in_goes_on_and_is_out_with_the_logout(stack: Stack, backchannel: Backchannel) -> None:
    made = register(stack, "--backchannel-uri", backchannel.uri)
    email = stack.new_user("--name", "Anna")
    with node_client(stack, made["id"], made["secret"]) as client:
        async with Browser(stack) as browser:
            sid = await browser.log_in(email)
            tokens = await log_in_at(client, browser)
            assert tokens["claims"]["sid"] == sid
            about = client.do("userinfo", token=tokens["access_token"], sub=tokens["claims"]["sub"])
            assert (about["email"], about["name"]) == (email, "Anna")
            fresh = client.do("refresh", token=tokens["refresh_token"])
            assert client.do("introspect", token=fresh["access_token"])["active"]

            goodbye = client.do("logout", hint=tokens["id_token"], redirect_uri=AFTERWARDS, state="abc")
            assert await visit(browser, goodbye) == f"{AFTERWARDS}?state=abc"

            assert (await browser.get("/api/session")).status_code == 401
        assert not client.do("introspect", token=fresh["access_token"])["active"]
        with pytest.raises(Refused) as refused:
            client.do("refresh", token=fresh["refresh_token"])
        assert refused.value.code == "invalid_grant"
        with pytest.raises(Refused):
            client.do("userinfo", token=fresh["access_token"], sub=tokens["claims"]["sub"])
        wait_for(lambda: bool(backchannel.tokens), seconds=20)
        told = client.do("verify", token=backchannel.tokens[0], audience=made["id"], typ="logout+jwt")
        assert (told["sid"], told["sub"]) == (sid, tokens["claims"]["sub"])


async def test_a_stranger_is_led_through_the_login_and_back_to_the_client(stack: Stack) -> None:
    made, email = register(stack, "--public"), stack.new_user()
    with node_client(stack, made["id"]) as client:
        async with Browser(stack) as browser:
            url = client.do("start", redirect_uri=REDIRECT, scope=SCOPE)
            to_login = (await browser.get(url)).headers["Location"]
            assert to_login.startswith("/login?next=")
            wanted = parse_qs(urlsplit(to_login).query)["next"][0]
            form = {"email": email, "password": "correct horse battery staple", "next": wanted}
            back = await browser.post("/login", data=form)
            tokens = client.do("finish", url=await visit(browser, back.headers["Location"]))
            assert client.do("verify", token=tokens["access_token"], audience=stack.url, typ="at+jwt")["sid"]


async def test_a_client_of_somebody_else_gets_what_its_user_allows(stack: Stack) -> None:
    made = stack.told("client", "create", "Stranger", "--redirect-uri", REDIRECT)
    with node_client(stack, made["id"], made["secret"]) as client:
        async with Browser(stack) as browser:
            await browser.log_in(stack.new_user())
            page = await browser.get(client.do("start", redirect_uri=REDIRECT, scope=SCOPE))
            assert "Stranger" in page.text
            shown = _fields(page.text)
            denied = await browser.post("/consent", data={**shown, "answer": "deny"})
            with pytest.raises(Refused) as refused:
                client.do("finish", url=denied.headers["Location"])
            assert refused.value.code == "access_denied"

            page = await browser.get(client.do("start", redirect_uri=REDIRECT, scope=SCOPE))
            allowed = await browser.post("/consent", data={**_fields(page.text), "answer": "allow"})
            assert client.do("finish", url=allowed.headers["Location"])["access_token"]
            assert (await log_in_at(client, browser))["access_token"]  # and is not asked again


async def test_max_age_and_prompt_are_kept_as_openid_client_checks_them(stack: Stack) -> None:
    made, email = register(stack), stack.new_user()
    with node_client(stack, made["id"], made["secret"]) as client:
        async with Browser(stack) as browser:
            url = client.do("start", redirect_uri=REDIRECT, scope=SCOPE, prompt="none")
            with pytest.raises(Refused) as refused:
                client.do("finish", url=await visit(browser, url))
            assert refused.value.code == "login_required"
            await browser.log_in(email)
            url = client.do("start", redirect_uri=REDIRECT, scope=SCOPE, max_age="300")
            assert client.do("finish", url=await visit(browser, url), max_age=300)["claims"]["auth_time"]


async def test_a_token_that_is_revoked_is_refused_at_once(stack: Stack) -> None:
    made, email = register(stack), stack.new_user()
    with node_client(stack, made["id"], made["secret"]) as client:
        async with Browser(stack) as browser:
            await browser.log_in(email)
            tokens, other = await log_in_at(client, browser), await log_in_at(client, browser)
            client.do("revoke", token=tokens["refresh_token"])

            assert not client.do("introspect", token=tokens["access_token"])["active"]
            assert client.do("introspect", token=other["access_token"])["active"]
            assert (await browser.get("/api/session")).status_code == 200


@pytest.mark.promise("L8")
async def test_authlib_as_a_client_refreshes_until_the_logout(stack: Stack) -> None:
    made, email = register(stack), stack.new_user()
    with OAuth2Session(
        made["id"], made["secret"], scope=SCOPE, redirect_uri=REDIRECT, code_challenge_method="S256",
        token_endpoint=f"{stack.url}/oauth/token",
    ) as client:  # fmt: skip
        client.trust_env = False
        client.verify = str(stack.folder / "certificate.pem") if stack.tls else True
        async with Browser(stack) as browser:
            await browser.log_in(email)
            verifier = "v" * 64
            url, state = client.create_authorization_url(f"{stack.url}/oauth/authorize", code_verifier=verifier)
            back = await visit(browser, url)
            token = client.fetch_token(authorization_response=back, state=state, code_verifier=verifier)
            assert client.get(f"{stack.url}/oauth/userinfo").json()["email"] == email
            lost = client.refresh_token(refresh_token=token["refresh_token"])
            again = client.refresh_token(refresh_token=token["refresh_token"])
            assert again["refresh_token"] == lost["refresh_token"]
            await browser.post("/api/logout", json={})
        assert client.get(f"{stack.url}/oauth/userinfo").status_code == 401


@pytest.mark.promise("B9")
async def test_jose_and_pyjwt_believe_our_tokens_by_the_published_keys_alone(stack: Stack) -> None:
    made, email = register(stack), stack.new_user()
    with node_client(stack, made["id"], made["secret"]) as client:
        async with Browser(stack) as browser:
            sid = await browser.log_in(email)
            token = (await browser.post("/api/token", json={})).json()["access_token"]
            published = (await browser.get("/.well-known/jwks.json")).json()
        assert client.do("verify", token=token, audience=stack.url, typ="at+jwt")["sid"] == sid
        for audience, typ in (("https://other.example.org", "at+jwt"), (stack.url, "logout+jwt")):
            with pytest.raises(Refused):
                client.do("verify", token=token, audience=audience, typ=typ)
    keys = jwt.PyJWKSet.from_dict(published)
    key = keys[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=["ES256"], audience=stack.url, issuer=stack.url)["sid"] == sid
    head, body, signature = token.split(".")
    flipped = body[:-2] + ("A" if body[-2] != "A" else "B") + body[-1]
    with pytest.raises(jwt.InvalidTokenError):
        jwt.decode(f"{head}.{flipped}.{signature}", key, algorithms=["ES256"], audience=stack.url)


def _fields(page: str) -> dict[str, str]:
    """The hidden fields of the consent page."""
    parts = page.split('type="hidden" name="')[1:]
    found = {part.partition('"')[0]: part.partition('value="')[2].partition('"')[0] for part in parts}
    return {name: value.replace("&amp;", "&") for name, value in found.items() if name in ("request", "user")}
