"""A service that checks access tokens by itself, with the sdk, refuses those of a session that has ended."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from authsvc.core.errors import TokenRefused
from authsvc.sdk.verifier import Verifier
from tests.conftest import PASSWORD
from tests.servers import wait_for
from tests.system.browser import Browser
from tests.system.stack import Run, Stack

Connect = Callable[[Stack], Verifier]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """A verifier of a stack, which follows its feed."""
    with ExitStack() as opened:

        def verifier(stack: Stack) -> Verifier:
            if stack.tls:
                monkeypatch.setenv("SSL_CERT_FILE", str(stack.folder / "certificate.pem"))
            made = stack.told("client", "create", "orders", "--service", "--scope", "revocations")
            return opened.enter_context(
                Verifier(stack.url, stack.url, client_id=made["id"], client_secret=made["secret"])
            )

        yield verifier


async def access_token(browser: Browser) -> str:
    answer: dict[str, Any] = (await browser.post("/api/token", json={})).json()
    token: str = answer["access_token"]
    return token


def refuses(verifier: Verifier, token: str) -> bool:
    try:
        verifier.verify(token)
    except TokenRefused as refusal:
        return refusal.reason == "revoked"
    return False


@pytest.mark.promise("R5")
async def test_a_verifier_refuses_the_tokens_of_a_session_that_has_ended_and_no_others(
    stack: Stack, connect: Connect
) -> None:
    verifier, email = connect(stack), stack.new_user()
    async with Browser(stack) as one, Browser(stack) as other:
        await one.log_in(email, PASSWORD)
        await other.log_in(email, PASSWORD)
        token, kept = await access_token(one), await access_token(other)
        assert verifier.verify(token).session != verifier.verify(kept).session

        assert (await one.post("/api/logout")).status_code == 204

        wait_for(lambda: refuses(verifier, token))
        assert not refuses(verifier, kept)
        stack.told("user", "roles", email, "editor")
        wait_for(lambda: verifier.verify(kept).roles == {"editor"})


@pytest.mark.promise("R5")
async def test_a_verifier_hears_of_ends_also_of_a_service_that_has_been_killed_meanwhile(
    run: Run, connect: Connect
) -> None:
    run.start()
    verifier, email = connect(run), run.new_user()
    async with Browser(run) as browser, Browser(run) as later:
        await browser.log_in(email, PASSWORD)
        token = await access_token(browser)
        verifier.verify(token)
        await later.log_in(email, PASSWORD)
        other = await access_token(later)
        verifier.verify(other)
        run.server.kill()
        run.start()

        assert (await browser.post("/api/logout")).status_code == 204
        wait_for(lambda: refuses(verifier, token))
        assert (await later.post("/api/logout")).status_code == 204
        wait_for(lambda: refuses(verifier, other))


@pytest.mark.promise("R5")
async def test_a_verifier_that_starts_after_the_end_of_a_session_knows_of_it(stack: Stack, connect: Connect) -> None:
    async with Browser(stack) as browser:
        await browser.log_in(stack.new_user(), PASSWORD)
        token = await access_token(browser)
        await browser.post("/api/logout")
    assert refuses(connect(stack), token)
