"""Takes the README's picture of a running service: `python docs/picture.py http://127.0.0.1:8000 EMAIL < password`."""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, sync_playwright

PICTURE = Path(__file__).parent / "pictures" / "account.png"
SIZE = {"width": 860, "height": 780}
AT_THE_DESK = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
ELSEWHERE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) Version/26.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
)


def log_in(browser: Browser, device: str, credentials: dict[str, str]) -> BrowserContext:
    context = browser.new_context(user_agent=device, viewport=SIZE)
    answer = context.request.post(f"{sys.argv[1]}/api/login", data=credentials)
    if not answer.ok:
        sys.exit(answer.text())
    return context


def take(browser: Browser, credentials: dict[str, str]) -> None:
    for device in ELSEWHERE:
        log_in(browser, device, credentials)
    page = log_in(browser, AT_THE_DESK, credentials).new_page()
    page.goto(f"{sys.argv[1]}/account")
    PICTURE.parent.mkdir(exist_ok=True)
    page.screenshot(path=PICTURE)


if __name__ == "__main__":
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    credentials = {"email": sys.argv[2], "password": sys.stdin.read().rstrip("\n")}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=as_root)
        take(chromium, credentials)
        chromium.close()
