"""The parts by themselves: each starts, answers and stops alone."""

import os
import secrets
import signal
import socket
from pathlib import Path

import httpx
import pytest
import redis

from authsvc.core.events import SESSION_ENDED, STREAM, Fact, parse
from authsvc.core.settings import Settings
from authsvc.core.store import key_of
from authsvc.domain.sessions import Origin
from authsvc.services import Services
from tests.conftest import PASSWORD
from tests.servers import Valkey, free_port, wait_for
from tests.system.stack import CLI, Server, environment, processes_of


@pytest.fixture
def alone(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> dict[str, str]:
    return environment(
        instance=tmp_path / "i", public_url="https://login.test", secret_keys=secrets.token_urlsafe(32),
        database_url=sqlite_url, redis_url=valkey.url, port=free_port(), web_workers=2,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("part", "path"), [("web", "/readyz"), ("bridge", "/events"), ("worker", "")])
def test_each_part_stops_cleanly_and_leaves_nothing(
    part: str, path: str, number: int, alone: dict[str, str], tmp_path: Path
) -> None:
    server = Server((*CLI, part), tmp_path / f"{part}.log", alone)
    try:
        if path:
            wait_for(lambda: answers(f"http://127.0.0.1:{alone['AUTHSVC_PORT']}{path}"), seconds=20)
        else:
            wait_for(lambda: "The worker takes jobs." in server.log.read_text(), seconds=20)

        os.killpg(server.process.pid, number)  # the whole group, as a terminal does it

        assert server.wait() == 0, server.log.read_text()
        assert "Traceback" not in server.log.read_text()
        assert processes_of(tmp_path / "i") == {}
    finally:
        server.kill()


@pytest.mark.parametrize("part", ["web", "bridge"])
def test_a_part_whose_port_is_taken_says_so(part: str, alone: dict[str, str], tmp_path: Path) -> None:
    port = int(alone["AUTHSVC_PORT"])
    with socket.create_server(("127.0.0.1", port)):
        server = Server((*CLI, part), tmp_path / f"{part}.log", alone)
        assert server.process.wait(timeout=20) == 1

    assert server.log.read_text().startswith(f"Cannot listen on 127.0.0.1, port {port}: Address already in use.")


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError as error:
        raise ConnectionError from error


def _told(client: redis.Redis) -> list[Fact | None]:
    return [parse(fields[b"fact"]) for _, fields in client.xrange(STREAM)]


def test_a_worker_delivers_what_could_not_be_delivered(
    services: Services, valkey: Valkey, tmp_path: Path, settings: Settings
) -> None:
    account = services.accounts.create("ada@example.org", services.hasher.hash(PASSWORD))
    _, token = services.sessions.create(account.id, 0, amr=("pwd",), remember=False, origin=Origin("192.0.2.1", ""))
    valkey.kill()
    assert services.sessions.end(token.sid).final_by
    env = environment(
        instance=tmp_path / "i", secret_keys=settings.secret_keys[0].get_secret_value(), redis_url=valkey.url,
        database_url=settings.database_url, public_url="https://login.test",
    )  # fmt: skip
    worker = Server((*CLI, "worker"), tmp_path / "worker.log", env)
    try:
        wait_for(lambda: "cannot be reached" in worker.log.read_text(), seconds=20)

        valkey.start()

        with valkey.client() as client:
            wait_for(lambda: client.get(key_of(token.sid)) == b"ended")
            wait_for(lambda: SESSION_ENDED in [fact.name for fact in _told(client) if fact])
        assert worker.stop() == 0
    finally:
        worker.kill()
    assert services.sessions.end(token.sid).final_by is None
