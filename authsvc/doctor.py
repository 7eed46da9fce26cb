"""`authsvc doctor`: what is wrong with an installation, and how to mend it."""

import os
from contextlib import closing

import httpx

from authsvc import health, runner
from authsvc.core.errors import Misconfigured
from authsvc.core.settings import MAKE_A_SECRET, SECRET_FILE, Settings
from authsvc.health import Finding, Storage, Wrong


def examine() -> list[Finding]:
    """One finding for each part. Without usable settings there is nothing else to look at."""
    try:
        settings = Settings.read(**runner.only_in_run(Settings.read()))
    except Misconfigured as error:
        return [Finding("settings", ok=False, detail=error.detail)]
    with closing(Storage(settings)) as storage:
        checks = {
            "settings": lambda: secrets(settings),
            "instance": lambda: folder(settings),
            **storage.checks(),
            "address": lambda: address(settings.public_url),
        }
        return list(health.examine(checks))


def secrets(settings: Settings) -> str:
    if not settings.secret_keys:
        raise Wrong(f"There is no secret. Start `authsvc run` once, or set AUTHSVC_SECRET_KEYS. {MAKE_A_SECRET}")
    kept = settings.instance / SECRET_FILE
    if kept.exists() and kept.stat().st_mode & 0o077:
        raise Wrong(f"Others can read the secret. Mend it with: chmod 600 {kept}")
    return f"{len(settings.secret_keys)} secret(s)"


def folder(settings: Settings) -> str:
    path = settings.instance.absolute()
    if settings.database_url and settings.redis_url and not path.exists():
        return "none is needed: the settings name a database and a Redis server"
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise Wrong(f"{path} is not a folder that this user can write to. Make it one, or set AUTHSVC_INSTANCE.")
    return str(path)


def address(url: str) -> str:
    """The way that users take, with every proxy on it."""
    hint = "Start the service, or correct AUTHSVC_PUBLIC_URL."
    try:
        answer = httpx.get(f"{url}/healthz", timeout=3, trust_env=False)
    except httpx.HTTPError as error:
        raise Wrong(f"{url} does not answer ({error}). {hint}") from None
    if answer.status_code != httpx.codes.OK or "alive" not in answer.text:
        raise Wrong(f"{url}/healthz answers {answer.status_code}, and not as authsvc does. {hint}")
    return f"{url} answers"
