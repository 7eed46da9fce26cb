"""R3: from the 2xx of a logout to the close at the client, one after another while thousands of others stay open;
then all of those ended at once."""

import asyncio
import os
import statistics
import time
from collections.abc import Iterator

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from authsvc.core.crypto import Token, write_token
from authsvc.core.settings import Settings
from authsvc.domain.sessions import Origin
from authsvc.services import Services, build
from bench.stack import stack

OTHERS, SOCKETS_EACH, LOGOUTS, AT_ONCE = 10_000, 20, 1_000, 32
STEPS = (1, 2, 5, 10, 20, 50, 100)  # ms


def rows() -> Iterator[tuple[str, str]]:
    with stack() as built:
        os.environ.update({name: value for name, value in built.environment.items() if name.startswith("AUTHSVC_")})
        services = build(Settings.read())
        with built.process("web", ready="/healthz") as (web, _), built.process("bridge") as (bridge, _):
            yield from asyncio.run(_measure(services, web, bridge))
        services.close()


async def _measure(services: Services, web: int, bridge: int) -> list[tuple[str, str]]:
    origin = services.settings.public_url
    others = [_session(services, f"other-{index}") for index in range(OTHERS // SOCKETS_EACH)]
    victims = [_session(services, f"victim-{index}") for index in range(LOGOUTS)]
    await _listening(bridge)
    idle = await _open(services, bridge, origin, [token for token in others for _ in range(SOCKETS_EACH)])
    sockets = await _open(services, bridge, origin, victims)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{web}") as client:
        one_by_one = [
            await _log_out(client, _cookie(services, token), socket)
            for token, socket in zip(victims, sockets, strict=True)
        ]
    at_once = await _end_all(services, others, idle)
    return [
        (f"R3 2xx to close, {LOGOUTS} logouts, {OTHERS} others open", summary(one_by_one) + " (goal p99 under 50)"),
        ("R3 the same, histogram", histogram(one_by_one)),
        (f"R3 {OTHERS} sockets of {len(others)} sessions ended at once, from the last answer", summary(at_once)),
    ]


def _session(services: Services, name: str) -> Token:
    """A session of an account of its own: a user's other sockets would be told of the logout, too."""
    user = services.accounts.create(f"{name}@example.org", "no password")
    _, token = services.sessions.create(user.id, 0, amr=("pwd",), remember=False, origin=Origin("127.0.0.1", "bench"))
    return token


def _cookie(services: Services, token: Token) -> dict[str, str]:
    return {"Cookie": f"session={write_token(services.keyring, token)}"}


async def _open(services: Services, port: int, origin: str, tokens: list[Token]) -> list[ClientConnection]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(token: Token) -> ClientConnection:
        async with gate:
            socket = await connect(
                f"ws://127.0.0.1:{port}/ws", additional_headers=_cookie(services, token), origin=origin,
                subprotocols=["authsvc.v1"], compression=None, ping_interval=None,
            )  # fmt: skip
            await socket.recv()  # hello
            return socket

    return await asyncio.gather(*(one(token) for token in tokens))


async def _listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def _closed(socket: ClientConnection) -> float:
    """When the socket was closed."""
    while True:
        try:
            await socket.recv()
        except ConnectionClosed:
            return time.perf_counter()


async def _log_out(client: httpx.AsyncClient, cookie: dict[str, str], socket: ClientConnection) -> float:
    closing = asyncio.create_task(_closed(socket))
    answer = await client.post("/api/logout", headers=cookie)
    answered = time.perf_counter()
    if answer.status_code != 204:
        raise RuntimeError(f"a logout answered {answer.status_code}")
    return max(0.0, await closing - answered)


async def _end_all(services: Services, tokens: list[Token], sockets: list[ClientConnection]) -> list[float]:
    closing = [asyncio.create_task(_closed(socket)) for socket in sockets]
    ends = [asyncio.to_thread(services.sessions.end, token.sid) for token in tokens]
    await asyncio.gather(*ends)
    acknowledged = time.perf_counter()
    return [max(0.0, at - acknowledged) for at in await asyncio.gather(*closing)]


def summary(times: list[float]) -> str:
    ordered = sorted(times)
    p99 = ordered[int(len(ordered) * 0.99)]
    return f"p50 {statistics.median(ordered) * 1000:.1f}, p99 {p99 * 1000:.1f}, most {ordered[-1] * 1000:.1f} ms"


def histogram(times: list[float]) -> str:
    counts = [f"<= {step} ms: {sum(each * 1000 <= step for each in times)}" for step in STEPS]
    return ", ".join(counts)
