"""The door for threads."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Self, TypeVar

import httpx
from httpx_sse import connect_sse

from authsvc.core.errors import IssuerDown, Unavailable
from authsvc.sdk.caller import Caller
from authsvc.sdk.door import BEGIN, BROKEN, HEADERS, UNREACHABLE, Body, Door
from authsvc.sdk.feed import log
from authsvc.sdk.issuer import Request, Response
from authsvc.sdk.rules import Begin, Load, Operation, Renew, Step

T = TypeVar("T")


class Verifier(Door):
    """Verifies access tokens, for any number of threads. Make one for the life of the process: it follows the
    revocation feed in a thread of its own from `start`, `with` or the first token on, until `close`."""

    def _open(self) -> None:
        self._http = httpx.Client(headers=HEADERS)
        self._loading, self._starting = threading.Lock(), threading.Lock()
        self._begun, self._closed = threading.Event(), threading.Event()
        self._following: threading.Thread | None = None
        self._renewing: threading.Thread | None = None
        self._line: Any = None  # of the feed

    def verify(self, token: str) -> Caller:
        """Who calls with this token. Raises TokenRefused; IssuerDown or RevocationsUnknown if that cannot be told."""
        caller = self._rules.known(token)
        return caller if caller is not None else self._run(self._rules.check(token))

    def start(self) -> None:
        with self._starting:
            if self._following is None and self._issuer.credentials:
                self._begin_by = time.monotonic() + BEGIN
                self._following = threading.Thread(target=self._follow, name="authsvc-revocations", daemon=True)
                self._following.start()

    def close(self) -> None:
        self._closed.set()
        if self._line:
            with contextlib.suppress(OSError):  # wakes the thread; of a TLS socket, too, only the socket is shut
                socket.socket.shutdown(self._line.get_extra_info("socket"), socket.SHUT_RDWR)
        for thread in (self._following, self._renewing):
            if thread:
                thread.join()
        self._http.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, operation: Operation[T]) -> T:
        try:
            step = next(operation)
            while True:
                try:
                    answer = self._perform(step)
                except Unavailable as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _perform(self, step: Step) -> Response | None:
        match step:
            case Request():
                return self._ask(step)
            case Load():
                with self._loading:
                    self._run(self._rules.load(*step))
            case Renew():
                with self._starting:
                    if self._renewing is None or not self._renewing.is_alive():
                        self._renewing = threading.Thread(target=self._renew, name="authsvc-keys", daemon=True)
                        self._renewing.start()
            case Begin():
                self.start()
                self._begun.wait(max(0.0, self._begin_by - time.monotonic()))
        return None

    def _ask(self, request: Request) -> Response:
        body = Body(request.timeout)
        try:
            with self._http.stream(**self._arguments(request)) as response:
                for chunk in response.iter_bytes():
                    body.add(chunk)
                return Response(response.status_code, response.headers, body.read)
        except UNREACHABLE as error:
            raise IssuerDown(f"{request.url}: {error}") from error

    def _renew(self) -> None:
        try:
            self._perform(Load())
        except Unavailable as error:
            log.warning("the keys of %s: %s", self.issuer, error)

    def _follow(self) -> None:
        while not self._closed.is_set():
            trouble = None
            try:
                self._follow_once()
            except BROKEN as error:
                trouble = error
            if not self._closed.is_set():
                self._closed.wait(self._feed.broke_off(trouble))

    def _follow_once(self) -> None:
        arguments = self._feed_arguments(*self._run(self._rules.open_feed()))
        with connect_sse(self._http, **arguments) as source:
            self._check_feed(source.response)
            self._line = source.response.extensions["network_stream"]
            if self._closed.is_set():  # before there was a line to shut
                return
            source.response.stream = _Heard(source.response.stream, self._feed.beat)
            for event in source.iter_sse():
                self._run(self._rules.hear(event.event, event.data, event.id))
                if self._feed.heard is not None:
                    self._begun.set()


class _Heard(httpx.SyncByteStream):
    """A stream, each of whose chunks is noticed: httpx-sse does not tell of comments, which keep the feed alive."""

    def __init__(self, stream: Any, beat: Any) -> None:
        self._stream = stream
        self._beat = beat

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._beat()
            yield chunk

    def close(self) -> None:
        self._stream.close()
