"""A person's browser, made of clients that know nothing of authsvc: httpx, websockets and httpx-sse."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
from httpx_sse import EventSource, aconnect_sse
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import PASSWORD
from tests.system.stack import Stack

PATIENCE = 10  # seconds for something that must happen


class Browser(httpx.AsyncClient):
    """Keeps cookies, follows no redirect, and sends the headers by which a browser says where a request comes from."""

    def __init__(self, stack: Stack, cookie: str | None = None) -> None:
        headers = {"Origin": stack.url, "Sec-Fetch-Site": "same-origin"}
        super().__init__(
            base_url=stack.url, headers=headers, verify=stack.tls or True, trust_env=False, timeout=PATIENCE
        )
        self.stack = stack
        if cookie:
            self.headers["Cookie"] = f"{stack.cookie_name}={cookie}"

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    @property
    def token(self) -> str:
        """The value of our session cookie."""
        return self.cookies[self.stack.cookie_name]

    def stolen(self) -> "Browser":
        """Another browser that sends this one's cookie for ever, whatever the service says about it."""
        return Browser(self.stack, self.token)

    async def log_in(self, email: str, password: str = PASSWORD) -> str:
        """By JSON. Returns the sid."""
        answer = await self.post("/api/login", json={"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        sid: str = answer.json()["session"]["sid"]
        return sid

    async def log_in_by_form(self, email: str, password: str = PASSWORD) -> str:
        answer = await self.post("/login", data={"email": email, "password": password, "next": "/account"})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/account"), answer.text
        return str((await self.get("/api/session")).json()["session"]["sid"])

    async def sids(self) -> set[str]:
        """What the list of sessions shows."""
        return {each["sid"] for each in (await self.get("/api/sessions")).json()["sessions"]}

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[ClientConnection]:
        token = self.cookies.get(self.stack.cookie_name)
        headers = {"Cookie": f"{self.stack.cookie_name}={token}" if token else self.headers.get("Cookie", "")}
        async with connect(
            self.stack.socket_url, origin=self.stack.url, additional_headers=headers, subprotocols=["authsvc.v1"],
            ssl=self.stack.tls, proxy=None, open_timeout=PATIENCE,
        ) as socket:  # fmt: skip
            yield socket

    @asynccontextmanager
    async def events(self) -> AsyncIterator[EventSource]:
        async with aconnect_sse(self, "GET", "/events") as source:
            yield source


async def frame(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next frame of that type; heartbeats and others are passed over."""
    while True:
        message: dict[str, Any] = json.loads(await socket.recv())
        if message["type"] == kind:
            return message


async def event(socket: ClientConnection, name: str) -> dict[str, Any]:
    while True:
        message = await frame(socket, "event")
        if message["event"] == name:
            return message


async def close_code(socket: ClientConnection) -> int | None:
    """The code with which the server closes a socket."""
    try:
        while True:
            await socket.recv()
    except ConnectionClosed:
        return socket.close_code


async def last_event(source: EventSource) -> tuple[str, str]:
    """Name and data of the event after which the server ends a stream."""
    last = ("", "")
    async for each in source.aiter_sse():
        last = (each.event, each.data)
    return last
