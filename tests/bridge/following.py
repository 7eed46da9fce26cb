"""A verifier's end of the feed of revocations."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from joserfc.util import urlsafe_b64decode

from authsvc.core import jwt
from authsvc.services import Services

BOUND = 10  # seconds in which what should come comes

Follow = Callable[..., Any]  # a bridge, and a cursor if there is one: an async context of a Following


class Following:
    """A verifier's end of the feed. With many tokens it may do without their signatures."""

    def __init__(self, received: AsyncIterator[Any], services: Services) -> None:
        self._received = received
        self._services = services
        self.verifies = True
        self.cursor = ""

    async def next(self) -> tuple[str, Any]:
        """The name of the next message, and what it says: of a token its verified claims."""
        async with asyncio.timeout(BOUND):
            async for message in self._received:
                if message.event == "message":  # the first, which only says when to come back
                    continue
                self.cursor = message.id
                return message.event, self._claims(message.data) if message.event == "set" else json.loads(message.data)
        raise EOFError

    async def ended(self) -> str:
        """The sid of the next session that has ended."""
        name, claims = await self.next()
        assert name == "set"
        sid: str = claims["sub_id"]["session"]["id"]
        return sid

    async def as_many_as_come(self, most: int) -> list[str]:
        """The sids of so many sessions that have ended, fewer if the feed ends before."""
        sids = []
        with contextlib.suppress(EOFError, httpx.RemoteProtocolError, httpx.ReadError):
            while len(sids) < most:
                name, claims = await self.next()
                if name == "set":
                    sids.append(claims["sub_id"]["session"]["id"])
        return sids

    async def until_ready(self) -> list[str]:
        """The names of all messages up to the one that says that nothing is missing."""
        names = []
        while (name := (await self.next())[0]) != "ready":
            names.append(name)
        return names

    async def snapshot(self) -> list[str]:
        """The sessions that have ended, as one is told who knows nothing."""
        assert await self.next() == ("keys", {})
        sids = []
        while True:
            name, claims = await self.next()
            if name == "ready":
                return sids
            sids.append(claims["sub_id"]["session"]["id"])

    async def is_over(self) -> bool:
        try:
            await self.next()
        except (EOFError, httpx.RemoteProtocolError, httpx.ReadError):
            return True
        return False

    def _claims(self, token: str) -> dict[str, Any]:
        if not self.verifies:
            said: dict[str, Any] = json.loads(urlsafe_b64decode(token.split(".")[1].encode()))
            return said
        issuer = self._services.settings.public_url
        return jwt.verify(
            token, self._services.keys.public(), typ=jwt.SECURITY_EVENT, issuer=issuer, audience=issuer,
            now=time.time(), must_expire=False,
        )  # fmt: skip
