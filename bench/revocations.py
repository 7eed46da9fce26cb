"""R5: from the answer to a logout to the first refusal of its access token by a verifier in another process, which asks
again and again; one logout after another, on `authsvc run`, where web and bridge share a process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from authsvc.core.crypto import write_token
from authsvc.core.errors import TokenRefused
from authsvc.core.settings import Settings
from authsvc.domain.sessions import Origin
from authsvc.sdk.verifier import Verifier
from authsvc.services import Services, build
from bench.ending import histogram, summary
from bench.stack import free_port, stack, wait_until_up

LOGOUTS = 1_000
PAUSE = 0.0005  # seconds between two questions to the verifier
AGAIN = 10.0  # seconds after which a token that is still accepted is a failure


def rows() -> Iterator[tuple[str, str]]:
    port = free_port()
    with stack() as built:
        built.environment |= {"AUTHSVC_PUBLIC_URL": f"http://127.0.0.1:{port}", "AUTHSVC_OPS_PORT": "0"}
        os.environ.update({name: value for name, value in built.environment.items() if name.startswith("AUTHSVC_")})
        services = build(Settings.read())
        client, secret = services.clients.create("bench", service=True, wanted_scopes=("revocations",))
        with built.process("run", AUTHSVC_PORT=str(port)):
            wait_until_up(port, "/healthz")
            with _verifier(services.settings.public_url, client.id, secret or "") as verifier:
                times = [_log_out(services, verifier, index) for index in range(LOGOUTS)]
        services.close()
    yield f"R5 2xx of a logout to refusal, {LOGOUTS} logouts", summary(times) + " (goal p99 under 100)"
    yield "R5 the same, histogram", histogram(times)


@contextmanager
def _verifier(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "bench.revocations"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write("\n".join(arguments) + "\n")  # type: ignore[union-attr]
        yield process
        process.stdin.close()  # type: ignore[union-attr]


def _log_out(services: Services, verifier: "subprocess.Popen[str]", index: int) -> float:
    origin = Origin("127.0.0.1", "bench")
    user = services.accounts.create(f"victim-{index}@example.org", "no password")
    _, token = services.sessions.create(user.id, 0, amr=("pwd",), remember=False, origin=origin)
    cookie = {"Cookie": f"session={write_token(services.keyring, token)}"}
    with httpx.Client(base_url=services.settings.public_url, headers=cookie) as http:
        access = http.post("/api/token", json={}).json()["access_token"]
        if _ask(verifier, access) != "accepted":
            raise RuntimeError("the verifier does not take the token of a session that lives")
        answer = http.post("/api/logout")
        answered = time.monotonic()  # one clock for all processes of a machine
    if answer.status_code != 204:
        raise RuntimeError(f"a logout answered {answer.status_code}")
    return max(0.0, float(_read(verifier)) - answered)


def _ask(verifier: "subprocess.Popen[str]", token: str) -> str:
    verifier.stdin.write(token + "\n")  # type: ignore[union-attr]
    verifier.stdin.flush()  # type: ignore[union-attr]
    return _read(verifier)


def _read(verifier: "subprocess.Popen[str]") -> str:
    line: str = json.loads(verifier.stdout.readline())  # type: ignore[union-attr]
    return line


def _verify() -> None:
    """The other process: reads what it is to connect with, then a token a line; says when it is accepted, and when it
    is not any more."""
    issuer, client_id, secret = (sys.stdin.readline().strip() for _ in range(3))
    with Verifier(issuer, issuer, client_id=client_id, client_secret=secret) as verifier:
        for line in sys.stdin:
            token = line.strip()
            verifier.verify(token)
            print(json.dumps("accepted"), flush=True)
            print(json.dumps(str(_refused(verifier, token))), flush=True)


def _refused(verifier: Verifier, token: str) -> float:
    """When it was refused."""
    until = time.monotonic() + AGAIN
    while time.monotonic() < until:
        try:
            verifier.verify(token)
        except TokenRefused:
            return time.monotonic()
        time.sleep(PAUSE)
    raise RuntimeError("a token outlives its session")


if __name__ == "__main__":
    _verify()
