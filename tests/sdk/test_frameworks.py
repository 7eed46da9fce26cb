"""The same promises through every framework: who may call, and what others are told (RFC 6750, 9470, 9457)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import fastapi
import flask
import httpx
import pytest
import quart
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from authsvc.core.errors import AuthsvcError
from authsvc.sdk import AsyncVerifier, Verifier
from authsvc.sdk.asgi import Middleware, answer, caller, require
from authsvc.sdk.flask import Require
from tests.sdk.issuer import AUDIENCE, Issuer

GUARDS: dict[str, dict[str, Any]] = {
    "/any": {},
    "/read": {"scope": "orders:read"},
    "/both": {"scope": "orders:read orders:delete"},
    "/clerk": {"role": "clerk"},
    "/admin": {"role": "admin"},
    "/recent": {"max_age": 30},
    "/today": {"max_age": 86_400},
}


def with_flask(verifier: Verifier) -> Any:
    app, guard = flask.Flask("orders"), Require(verifier)
    app.add_url_rule("/public", view_func=lambda: "all", endpoint="public")
    for path, need in GUARDS.items():
        app.add_url_rule(path, path, guard(**need)(lambda: flask.g.caller.subject))
    return app


def _endpoint(**need: Any) -> Callable[[], Any]:
    @require(**need)
    async def endpoint() -> str:
        return caller().subject

    return endpoint


def with_quart(verifier: AsyncVerifier) -> Any:
    app = quart.Quart("orders")
    app.add_url_rule("/public", "public", lambda: "all")
    for path, need in GUARDS.items():
        app.add_url_rule(path, path, _endpoint(**need))
    app.register_error_handler(AuthsvcError, answer)
    app.asgi_app = Middleware(app.asgi_app, verifier)  # type: ignore[method-assign]
    return app


def with_fastapi(verifier: AsyncVerifier) -> Any:
    app = fastapi.FastAPI(default_response_class=PlainTextResponse)
    app.add_api_route("/public", lambda: "all")
    for path, need in GUARDS.items():
        app.add_api_route(path, _endpoint(**need))
    app.add_middleware(Middleware, verifier=verifier)
    return app


def with_starlette(verifier: AsyncVerifier) -> Any:
    def plain(**need: Any) -> Any:
        @require(**need)
        async def endpoint(_request: object) -> PlainTextResponse:
            return PlainTextResponse(caller().subject)

        return endpoint

    routes = [Route(path, plain(**need)) for path, need in GUARDS.items()]
    app = Starlette(routes=[Route("/public", lambda _: PlainTextResponse("all")), *routes])
    app.add_middleware(Middleware, verifier=verifier)
    return app


def with_nothing(verifier: AsyncVerifier) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def reply() -> str:
            return "all"

        path = scope["path"]
        body = await (reply() if path == "/public" else _endpoint(**GUARDS[path])())
        await PlainTextResponse(body)(scope, receive, send)

    return Middleware(app, verifier)


FRAMEWORKS = {
    "flask": with_flask, "quart": with_quart, "fastapi": with_fastapi, "starlette": with_starlette, "asgi": with_nothing
}  # fmt: skip
Get = Callable[..., Any]


@pytest.fixture(params=FRAMEWORKS)
async def get(request: pytest.FixtureRequest, issuer: Issuer) -> AsyncIterator[Get]:
    """Asks an application; `authorization` may be given more than once."""
    build: Any = FRAMEWORKS[request.param]
    credentials = {"client_id": "orders", "client_secret": "secret"}

    if build is with_flask:
        with Verifier(issuer.url, AUDIENCE, **credentials) as verifier:
            client = build(verifier).test_client()

            async def ask_flask(path: str, *authorizations: str) -> httpx.Response:
                found = client.get(path, headers=[("Authorization", value) for value in authorizations])
                return httpx.Response(found.status_code, headers=list(found.headers), content=found.data)

            yield ask_flask
        return
    async with AsyncVerifier(issuer.url, AUDIENCE, **credentials) as verifier:
        transport = httpx.ASGITransport(build(verifier))
        async with httpx.AsyncClient(transport=transport, base_url=AUDIENCE) as client:

            async def ask(path: str, *authorizations: str) -> httpx.Response:
                headers = [(b"Authorization", value.encode("latin-1")) for value in authorizations]
                return await client.get(path, headers=headers)

            yield ask


def challenge(found: httpx.Response) -> str:
    return str(found.headers["WWW-Authenticate"]).replace(f'Bearer realm="{AUDIENCE}"', "").strip(", ")


async def test_who_may_call_is_let_in(get: Get, issuer: Issuer) -> None:
    for path in ("/any", "/read", "/clerk", "/today"):
        for scheme in ("Bearer", "bearer", "BEARER "):
            found = await get(path, f"{scheme} {issuer.token()}")
            assert (found.status_code, found.text) == (200, "anna")


async def test_what_is_public_asks_nobody(get: Get, issuer: Issuer) -> None:
    assert ((await get("/public")).text, (await get("/public", "Bearer x")).text) == ("all", "all")
    assert issuer.hits["/.well-known/jwks.json"] <= 1


async def test_who_brings_no_token_is_asked_for_one(get: Get) -> None:
    for authorization in ((), ("Basic YTpi",), ("",), ("Bearer",), ("Token x",)):
        found = await get("/read", *authorization)
        assert (found.status_code, challenge(found), found.json()["code"]) == (401, "", "unauthenticated")


@pytest.mark.promise("B9")
async def test_a_bad_token_is_refused_and_its_reason_not_told(get: Get, issuer: Issuer) -> None:
    bad = [
        issuer.token(exp=1),
        issuer.token(aud="https://bills.example"),
        "x",
        "a b",
        "a,b",
        "é".encode().decode("latin-1"),
    ]
    answers = [await get("/read", f"Bearer {token}") for token in bad]
    assert {found.status_code for found in answers} == {401}
    assert len({(found.text, challenge(found)) for found in answers}) == 1
    assert 'error="invalid_token"' in challenge(answers[0])


@pytest.mark.promise("B9")
async def test_two_tokens_are_refused(get: Get, issuer: Issuer) -> None:
    found = await get("/read", f"Bearer {issuer.token()}", f"Bearer {issuer.token()}")
    assert found.status_code in (400, 401)  # a WSGI server joins them
    assert 'error="invalid_' in challenge(found)


@pytest.mark.promise("B9")
async def test_a_token_in_the_address_is_refused(get: Get, issuer: Issuer) -> None:
    for query in (f"access_token={issuer.token()}", "access_token", "a=1&access%5Ftoken=x"):
        for authorization in ((), (f"Bearer {issuer.token()}",)):
            found = await get(f"/any?{query}", *authorization)
            assert (found.status_code, found.json()["code"]) == (400, "bad_request")
            assert 'error="invalid_request"' in challenge(found)


@pytest.mark.asvs("V10.3.2")
async def test_a_scope_that_is_missing_is_named(get: Get, issuer: Issuer) -> None:
    found = await get("/both", f"Bearer {issuer.token()}")
    assert (found.status_code, found.json()["code"]) == (403, "insufficient_scope")
    assert 'error="insufficient_scope"' in challenge(found)
    assert challenge(found).endswith('scope="orders:read orders:delete"')


async def test_a_role_that_is_missing_is_403(get: Get, issuer: Issuer) -> None:
    found = await get("/admin", f"Bearer {issuer.token()}")
    assert (found.status_code, found.json()["code"], "WWW-Authenticate" in found.headers) == (403, "forbidden", False)


@pytest.mark.asvs("V10.3.4")
async def test_a_login_that_is_too_long_ago_is_asked_for_anew(get: Get, issuer: Issuer) -> None:
    for token in (issuer.token(), issuer.token(auth_time=None)):
        found = await get("/recent", f"Bearer {token}")
        assert (found.status_code, found.json()["code"]) == (401, "insufficient_user_authentication")
        assert 'error="insufficient_user_authentication"' in challenge(found)
        assert challenge(found).endswith('max_age="30"')


async def test_a_problem_is_one_of_rfc_9457(get: Get, issuer: Issuer) -> None:
    found = await get("/read")
    assert found.headers["Content-Type"].partition(";")[0] == "application/problem+json"
    assert found.headers["Cache-Control"] == "no-store"
    assert found.json() == {
        "type": f"{issuer.url}/errors/unauthenticated",
        "title": "Unauthorized",
        "status": 401,
        "code": "unauthenticated",
        "detail": "Nobody is logged in here. Log in first.",
    }


async def test_what_is_our_own_fault_is_503_and_tells_nothing(get: Get, issuer: Issuer) -> None:
    await get("/read", f"Bearer {issuer.token()}")
    issuer.down.add("/.well-known/jwks.json")
    issuer.send("keys")
    for _ in range(1000):
        found = await get("/read", f"Bearer {issuer.token()}")
        if found.status_code != 200:
            break
        await asyncio.sleep(0.01)  # a token that is known makes no way for the feed
    assert (found.status_code, found.json()["code"], found.headers["Retry-After"]) == (503, "issuer_unavailable", "5")
    assert "WWW-Authenticate" not in found.headers
    assert "jwks" not in found.text


@pytest.mark.promise("B9")
async def test_a_socket_is_closed_before_it_is_open(issuer: Issuer) -> None:
    @require(scope="orders:read")
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    async with AsyncVerifier(issuer.url, AUDIENCE, client_id="orders", client_secret="secret") as verifier:
        sent: dict[str, Any] = {}

        async def send(message: dict[str, Any]) -> None:
            sent.update(message)

        scope = {"type": "websocket", "headers": [], "query_string": b""}
        await Middleware(app, verifier)(scope, None, send)  # type: ignore[arg-type]
        assert sent == {"type": "websocket.close", "code": 4401}
        scope["headers"] = [(b"authorization", f"Bearer {issuer.token()}".encode())]
        await Middleware(app, verifier)(scope, None, send)  # type: ignore[arg-type]
        assert sent["type"] == "websocket.accept"
