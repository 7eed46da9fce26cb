"""Pages as Chromium shows them: web and bridge on one port of this process, and a browser that keeps to our policy."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect

from authsvc import serve
from authsvc import services as parts
from authsvc.core.settings import Settings
from authsvc.domain.jobs import EXPORT, Job
from authsvc.services import Services
from bridge.parts import Parts
from bridge.server import uvicorn_options
from tests import chromium as chromium_
from tests.conftest import PASSWORD, make_settings
from tests.servers import Valkey, free_port, wait_for

PATIENCE = 10_000  # milliseconds for something that must happen
EMAIL = "anna@example.org"
expect.set_options(timeout=PATIENCE)


@dataclass(frozen=True)
class Site:
    """The running service, and what its worker would do, step by step."""

    services: Services
    url: str
    bridge: Parts

    def deliver(self) -> None:
        """Facts that wait, to everything live."""
        while self.services.outbox.relay():
            pass

    def begin_export(self, user: str) -> Job:
        task = self.services.jobs.newest(EXPORT, user)
        assert task
        job = self.services.jobs.begin(task.id, "a worker")
        assert job
        return job

    def user(self) -> str:
        return self.services.accounts.get(EMAIL).id


@pytest.fixture
def settings(tmp_path: Path, sqlite_url: str, valkey: Valkey) -> Settings:
    url = f"http://127.0.0.1:{free_port()}"
    return make_settings(instance=tmp_path, database_url=sqlite_url, redis_url=valkey.url, public_url=url)


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    services, app = parts.build(settings), serve.one_port(parts.build(settings))
    port = int(settings.public_url.rpartition(":")[2])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, port=port, **uvicorn_options(settings.heartbeat)))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    services.accounts.create(EMAIL, services.hasher.hash(PASSWORD), name="Anna Lindqvist")
    yield Site(services, settings.public_url, app._live.extensions["bridge"])
    server.should_exit = True
    thread.join()
    services.close()


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with chromium_.started() as browser:
        yield browser


@pytest.fixture
def person(chromium: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Makes people: each a browser of its own, on whose pages no script may fail and nothing may break our policy."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def make(**options: Any) -> Page:
        contexts.append(chromium.new_context(base_url=site.url, **options))
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        chromium_.note_complaints(page, complaints)
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def log_in(page: Page, password: str = PASSWORD) -> None:
    page.goto("/login")
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Where you are logged in")).to_be_visible()


def with_stream(page: Page) -> None:
    """Wait until the page hears what happens: it reads itself anew when its stream is open."""
    with page.expect_response(lambda answer: answer.url.endswith("/account") and answer.request.resource_type == "xhr"):
        page.goto("/account")


def another_login(site: Site, password: str = PASSWORD) -> str:
    """The same person logs in elsewhere; returns the sid."""
    body = {"email": EMAIL, "password": password}
    answer = httpx.post(f"{site.url}/api/login", json=body, trust_env=False)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["session"]["sid"])
