"""Keys rotate under load, and nobody who holds a good token is refused."""

import threading
import time

import httpx
import pytest

from authsvc.core.errors import AuthsvcError
from authsvc.sdk import Verifier
from tests.conftest import PASSWORD
from tests.system.stack import Run

ROTATION, MAX_AGE, VERIFIERS, ROTATIONS = 5, 1, 5, 3  # the first two in seconds


@pytest.fixture
def rotating(run: Run) -> Run:
    """An installation that rotates as fast as the settings let it."""
    run.env |= {"AUTHSVC_KEY_ROTATION": str(ROTATION), "AUTHSVC_JWKS_MAX_AGE": str(MAX_AGE)}
    return run.start()


@pytest.mark.timeout(120)
def test_while_keys_rotate_every_five_seconds_no_good_token_is_refused(rotating: Run) -> None:
    email = rotating.new_user()
    service = rotating.told("client", "create", "Notes", "--service", "--scope", "revocations")
    verifiers = [
        Verifier(rotating.url, rotating.url, client_id=service["id"], client_secret=service["secret"])
        for _ in range(VERIFIERS)
    ]
    tokens: list[str] = []
    refused: list[str] = []
    over = threading.Event()

    def verify(verifier: Verifier) -> None:
        """The newest token, which may be signed by a key of this moment, and one from before."""
        while not over.is_set():
            for token in (tokens[-1], tokens[len(tokens) // 2], tokens[0]):
                try:
                    verifier.verify(token)
                except AuthsvcError as error:
                    refused.append(repr(error))
                    over.set()

    with httpx.Client(base_url=rotating.url, trust_env=False, timeout=10) as page:
        assert page.post("/api/login", json={"email": email, "password": PASSWORD}).status_code == 200

        def ask() -> None:
            tokens.append(page.post("/api/token", json={}).json()["access_token"])

        ask()
        threads = [threading.Thread(target=verify, args=(verifier,)) for verifier in verifiers]
        for thread in threads:
            thread.start()
        until = time.monotonic() + ROTATION * (ROTATIONS + 1)
        while time.monotonic() < until and not over.is_set():
            ask()
        over.set()
        for thread in threads:
            thread.join()
    seen = [verifier.metrics for verifier in verifiers]
    for verifier in verifiers:
        verifier.close()

    assert refused == []
    signing = [key["signs"] for key in rotating.told("key", "list")["keys"]]
    assert len(signing) > ROTATIONS
    assert len({token.partition(".")[0] for token in tokens}) >= ROTATIONS
    assert all(each.refused == {} for each in seen), seen
