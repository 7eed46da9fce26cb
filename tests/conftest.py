"""Fixtures that every room shares. Each test has its own Valkey, its own database and its own secrets."""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from authsvc import migrations
from authsvc import services as parts
from authsvc.core.settings import Settings
from authsvc.db import Database
from authsvc.services import Services
from tests import smtp
from tests.redis_sets import Cluster, Sentinels
from tests.servers import Postgres, Valkey, postgres_server
from tests.smtp import SmtpServer

PASSWORD = "correct horse battery staple"
ORIGIN = "http://127.0.0.1:8000"


def pytest_xdist_auto_num_workers() -> int:
    """Half of the time a test waits for a process that it has started."""
    return (os.cpu_count() or 1) * 3 // 2


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    servers = Sentinels(tmp_path_factory.mktemp("sentinels"))
    yield servers
    servers.kill()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    servers = Cluster(tmp_path_factory.mktemp("cluster"))
    yield servers
    servers.kill()


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.sqlite3"
    db = Database(f"sqlite:///{path}")
    migrations.upgrade(db)
    with db.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
    db.close()
    return path


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with postgres_server(tmp_path_factory.mktemp("pg")) as url:
        yield Postgres(url)


@pytest.fixture(scope="session")
def _postgres_database(postgres: Postgres) -> Iterator[str]:
    """One for all tests of this process: making one costs more than most tests."""
    name = postgres.create()
    db = Database(postgres.url(name))
    migrations.upgrade(db)
    db.close()
    yield name
    postgres.drop(name)


@pytest.fixture
def sqlite_url(tmp_path: Path, _sqlite_template: Path) -> str:
    path = tmp_path / "authsvc.sqlite3"
    shutil.copy(_sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres: Postgres, _postgres_database: str) -> str:
    """An empty database, on which nobody works any more."""
    postgres.empty(_postgres_database)
    return postgres.url(_postgres_database)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database with the schema, once of each kind."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def smtp_server() -> Iterator[SmtpServer]:
    """A mail server on loopback that counts; a test sets its `answer` to have it refuse, stall or hang up."""
    with smtp.smtp_server() as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, database_url: str, valkey: Valkey) -> Settings:
    queues = "" if valkey.url.startswith("unix:") else "redis://127.0.0.1"  # a set of servers needs one beside it
    return make_settings(instance=tmp_path, database_url=database_url, redis_url=valkey.url, broker_url=queues)


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    built = parts.build(settings)
    yield built
    built.close()


@pytest.fixture
def make_services(settings: Settings) -> Iterator[Callable[..., Services]]:
    """Further processes on the same storage: each call builds all parts anew, with some settings changed. With `later`
    its clock is so many seconds ahead."""
    built: list[Services] = []

    def make(*, later: float = 0, **changes: Any) -> Services:
        built.append(parts.build(settings.model_copy(update=changes), lambda: time.time() + later))
        return built[-1]

    yield make
    for each in built:
        each.close()


def make_settings(**given: Any) -> Settings:
    """Settings of a test: cheap hashes, a fresh secret, plain HTTP on loopback."""
    defaults: dict[str, Any] = {
        "public_url": ORIGIN,
        "secret_keys": secrets.token_urlsafe(32),
        "cookie_secure": False,
        "argon2_time_cost": 1,
        "argon2_memory_kib": 8,
    }
    return Settings.read(**{**defaults, **given})
