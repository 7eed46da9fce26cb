"""The door for an event loop: the same as in verifier.py, with `await`."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Self, TypeVar

import httpx
from httpx_sse import aconnect_sse

from authsvc.core.errors import IssuerDown, Unavailable
from authsvc.sdk.caller import Caller
from authsvc.sdk.door import BEGIN, BROKEN, HEADERS, UNREACHABLE, Body, Door
from authsvc.sdk.feed import log
from authsvc.sdk.issuer import Request, Response
from authsvc.sdk.rules import Begin, Load, Operation, Renew, Step

T = TypeVar("T")


class AsyncVerifier(Door):
    """The same for one event loop: `await verifier.verify(token)`, `async with`, `await verifier.close()`. The feed is
    followed in a task."""

    def _open(self) -> None:
        self._http = httpx.AsyncClient(headers=HEADERS)
        self._loading = asyncio.Lock()
        self._begun = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def verify(self, token: str) -> Caller:
        """Who calls with this token. Raises TokenRefused; IssuerDown or RevocationsUnknown if that cannot be told."""
        caller = self._rules.known(token)
        return caller if caller is not None else await self._run(self._rules.check(token))

    def start(self) -> None:
        """In the running loop."""
        if self._following is None and self._issuer.credentials:
            self._begin_by = time.monotonic() + BEGIN
            self._following = asyncio.create_task(self._follow(), name="authsvc-revocations")

    async def close(self) -> None:
        tasks = [task for task in (self._following, self._renewing) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, operation: Operation[T]) -> T:
        try:
            step = next(operation)
            while True:
                try:
                    answer = await self._perform(step)
                except Unavailable as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _perform(self, step: Step) -> Response | None:
        match step:
            case Request():
                return await self._ask(step)
            case Load():
                async with self._loading:
                    await self._run(self._rules.load(*step))
            case Renew():
                if self._renewing is None or self._renewing.done():
                    self._renewing = asyncio.create_task(self._renew(), name="authsvc-keys")
            case Begin():
                self.start()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._begun.wait(), max(0.0, self._begin_by - time.monotonic()))
        return None

    async def _ask(self, request: Request) -> Response:
        body = Body(request.timeout)
        try:
            async with self._http.stream(**self._arguments(request)) as response:
                async for chunk in response.aiter_bytes():
                    body.add(chunk)
                return Response(response.status_code, response.headers, body.read)
        except UNREACHABLE as error:
            raise IssuerDown(f"{request.url}: {error}") from error

    async def _renew(self) -> None:
        try:
            await self._perform(Load())
        except Unavailable as error:
            log.warning("the keys of %s: %s", self.issuer, error)

    async def _follow(self) -> None:
        while True:
            trouble = None
            try:
                await self._follow_once()
            except BROKEN as error:
                trouble = error
            await asyncio.sleep(self._feed.broke_off(trouble))

    async def _follow_once(self) -> None:
        arguments = self._feed_arguments(*await self._run(self._rules.open_feed()))
        async with aconnect_sse(self._http, **arguments) as source:
            self._check_feed(source.response)
            source.response.stream = _AsyncHeard(source.response.stream, self._feed.beat)
            async for event in source.aiter_sse():
                await self._run(self._rules.hear(event.event, event.data, event.id))
                if self._feed.heard is not None:
                    self._begun.set()


class _AsyncHeard(httpx.AsyncByteStream):
    def __init__(self, stream: Any, beat: Any) -> None:
        self._stream = stream
        self._beat = beat

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._beat()
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
