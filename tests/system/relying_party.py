"""Clients that were not written for us, as processes or libraries: openid-client and jose on Node."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers import missing
from tests.system.stack import Stack

FOLDER = Path(__file__).with_name("node")


class Refused(Exception):
    """The client says no. `code` is the error's, as the standard or the library names it."""

    def __init__(self, answer: dict[str, str]) -> None:
        super().__init__(answer)
        self.code = answer.get("code", answer["error"])
        self.words = answer.get("message", "")


class NodeClient:
    """openid-client, driven by lines of JSON."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def do(self, command: str, **given: Any) -> Any:
        """Raises Refused."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": command, **given}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Refused(answer)
        return answer["ok"]


@contextmanager
def node_client(stack: Stack, client_id: str, secret: str | None = None) -> Iterator[NodeClient]:
    """One that has read the discovery document."""
    install()
    trusted = {"NODE_EXTRA_CA_CERTS": str(stack.folder / "certificate.pem")} if stack.tls else {}
    process = subprocess.Popen(
        ["node", "client.mjs"], cwd=FOLDER, env={**os.environ, **trusted}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        client = NodeClient(process)
        client.do("discover", issuer=stack.url, id=client_id, secret=secret)
        yield client
    finally:
        process.kill()
        process.communicate()


def install() -> None:
    """What package-lock.json names, once."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        missing("node and npm")
    if not (FOLDER / "node_modules" / ".package-lock.json").exists():
        subprocess.run(["npm", "ci", "--silent"], cwd=FOLDER, check=True, timeout=50)
