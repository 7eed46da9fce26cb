import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from authsvc.sdk import AsyncVerifier, Caller, Verifier
from authsvc.sdk.rules import Metrics
from tests.sdk import issuer as issuers
from tests.sdk.issuer import AUDIENCE, Issuer


class Driven:
    """An AsyncVerifier in a loop of its own, called as if it were a Verifier."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.verifier = AsyncVerifier(*args, **options)

    def verify(self, token: str) -> Caller:
        return asyncio.run_coroutine_threadsafe(self.verifier.verify(token), self._loop).result()

    @property
    def metrics(self) -> Metrics:
        return self.verifier.metrics

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.verifier.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuers.issuer() as made:
        yield made


@pytest.fixture(params=["sync", "async"])
def verifier_of(request: pytest.FixtureRequest, issuer: Issuer) -> Iterator[Callable[..., Verifier | Driven]]:
    """Makes verifiers for our audience, with credentials unless told otherwise; once through each door."""
    kind: type[Verifier | Driven] = Verifier if request.param == "sync" else Driven
    made: list[Verifier | Driven] = []

    def make(**options: Any) -> Verifier | Driven:
        made.append(kind(issuer.url, AUDIENCE, **{"client_id": "orders", "client_secret": "secret", **options}))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def verifier(verifier_of: Callable[..., Verifier | Driven]) -> Verifier | Driven:
    return verifier_of()
