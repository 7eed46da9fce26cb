"""The outbox of a connection and its end, against a client that the test plays."""

import asyncio
from typing import Any

from bridge.connection import OUTBOX, Connection
from bridge.protocol import Close, Event


class Client(Connection):
    """Takes what is sent while `reads` is set."""

    __slots__ = ("cut", "got", "reads")

    def __init__(self) -> None:
        self.got: list[str] = []
        self.reads = asyncio.Event()
        self.cut = asyncio.Event()
        super().__init__({"extensions": {"authsvc.abort": self.cut.set}})

    def deliver(self, event: Event) -> None:
        self.put(event.frame)

    async def _send(self, text: str) -> None:
        await self.reads.wait()
        self.got.append(text)

    async def _send_end(self, why: Close) -> None:
        await self._send(why.reason)


async def nowhere(_: dict[str, Any]) -> None:
    raise AssertionError


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_comes_during_the_handshake_waits_behind_the_greeting() -> None:
    client = Client()
    client.reads.set()
    client.put("one")
    client.put("two")
    await settle()
    assert client.got == []
    client.open("hello", nowhere)
    client.put("three")
    await settle()
    assert client.got == ["hello", "one", "two", "three"]


async def test_nothing_is_sent_after_the_end_but_the_end() -> None:
    client = Client()
    client.open("hello", nowhere)
    client.put("one")
    await settle()
    client.end(Close.NO_SESSION)
    client.put("two")
    client.reads.set()
    await settle()
    assert client.got == ["no_session"]


async def test_only_the_first_end_counts() -> None:
    client = Client()
    client.reads.set()
    client.open("hello", nowhere)
    client.end(Close.NO_SESSION)
    client.end(Close.OVERLOADED)
    await settle()
    assert client.got == ["no_session"]


async def test_a_connection_that_ended_during_its_handshake_is_not_greeted() -> None:
    client = Client()
    client.reads.set()
    client.put("one")
    client.end(Close.NO_SESSION)
    client.open("hello", nowhere)
    await settle()
    assert client.got == ["no_session"]


async def test_the_outbox_is_bounded() -> None:
    client = Client()
    client.open("hello", nowhere)
    client.put("x" * (OUTBOX - len("hello")))
    assert client.ended is None
    client.put("x")
    assert client.ended is Close.TOO_FAST


async def test_the_outbox_is_empty_again_when_all_is_sent() -> None:
    client = Client()
    client.reads.set()
    client.open("hello", nowhere)
    for _ in range(5):
        client.put("x" * (OUTBOX // 2))
        await settle()
    assert (len(client.got), client._waiting, client.ended) == (6, 0, None)


async def test_a_client_is_cut_off_when_it_does_not_take_its_end() -> None:
    client = Client()
    client.open("hello", nowhere)
    client.end(Close.NO_SESSION)
    await asyncio.wait_for(client.cut.wait(), 10)
