"""For ASGI: FastAPI, Starlette, Quart, or no framework at all.

    app = Middleware(app, verifier)  # of FastAPI and Starlette: app.add_middleware(Middleware, verifier=verifier)

    @app.get("/orders")
    @require(scope="orders:read")
    async def orders():
        return {"yours": load(caller().subject)}

Quart turns exceptions into pages before a middleware sees them: `app.register_error_handler(AuthsvcError, answer)`.
"""

import functools
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from authsvc.core.errors import AuthsvcError, Unauthenticated
from authsvc.sdk import bearer
from authsvc.sdk.async_verifier import AsyncVerifier
from authsvc.sdk.caller import Caller

P = ParamSpec("P")
T = TypeVar("T")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

CLOSES = {401: 4401, 403: 4403, 503: 1013}  # of a WebSocket


class _Request:
    """One under way: its connection scope, and its caller once that is known."""

    def __init__(self, scope: Scope, verifier: AsyncVerifier) -> None:
        self.verifier = verifier
        self.caller: Caller | None = None
        self._scope = scope

    async def verify(self) -> Caller:
        if self.caller is None:
            found = [value.decode("latin-1") for name, value in self._scope["headers"] if name == b"authorization"]
            query = self._scope["query_string"].decode("latin-1")
            self.caller = await self.verifier.verify(bearer.token_of(found, query))
        return self.caller


_current: ContextVar[_Request] = ContextVar("authsvc.request")


def require(
    *, scope: str = "", role: str | None = None, max_age: int | None = None
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """For async functions below the middleware that only a caller with all words of `scope`, this role, and a login at
    most `max_age` seconds ago may run. Raises what `Middleware` or `answer` makes an answer of."""

    def decorate(endpoint: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @functools.wraps(endpoint)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            found = await _current.get().verify()
            found.demand(scope=scope, role=role, max_age=max_age, now=time.time())
            return await endpoint(*args, **kwargs)

        return guarded

    return decorate


def caller() -> Caller:
    """Who calls, in what `require` guards. Raises Unauthenticated elsewhere."""
    found = _current.get().caller
    if found is None:
        raise Unauthenticated
    return found


async def answer(error: AuthsvcError) -> tuple[str, int, dict[str, str]]:
    """The refusal as Quart takes it from an error handler."""
    verifier = _current.get().verifier
    made = bearer.refusal(error, verifier.issuer, verifier.audience)
    return made.body, made.status, made.headers


class Middleware:
    """Knows who calls, if asked by `require`, and answers for it if they may not."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], verifier: AsyncVerifier) -> None:
        self._app = app
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        reset = _current.set(_Request(scope, self._verifier))
        try:
            await self._app(scope, receive, send)
        except AuthsvcError as error:
            body, status, headers = await answer(error)
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": CLOSES.get(status, 4400)})
            else:
                raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
                await send({"type": "http.response.start", "status": status, "headers": raw})
                await send({"type": "http.response.body", "body": body.encode()})
        finally:
            _current.reset(reset)
        return None
