"""The command line, run in this process on the storage of `services`."""

import os
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from authsvc.cli import main
from authsvc.core.settings import Settings

Cli = Callable[..., Result]
VARIABLES = ("instance", "database_url", "redis_url", "public_url", "argon2_time_cost", "argon2_memory_kib")


@pytest.fixture(autouse=True)
def _same_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def invoke(environment: dict[str, str], *arguments: str, stdin: str | bytes = "") -> Result:
    cleared = {name: None for name in os.environ if name.startswith("AUTHSVC_")}
    return CliRunner().invoke(main, arguments, input=stdin, env={**cleared, **environment})


@pytest.fixture
def cli(settings: Settings) -> Cli:
    """The command line on the storage of `services`."""
    environment = {f"AUTHSVC_{name.upper()}": str(getattr(settings, name)) for name in VARIABLES}
    environment["AUTHSVC_SECRET_KEYS"] = settings.secret_keys[0].get_secret_value()
    return lambda *arguments, **given: invoke(environment, *arguments, **given)
