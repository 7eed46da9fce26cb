"""The migrations make exactly the tables of the models, on both databases, however often and by how many at once."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from authsvc import migrations
from authsvc.core.errors import StorageDown
from authsvc.db import Database
from authsvc.models import Base
from tests.servers import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite3'}"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def db(empty_url: str) -> Iterator[Database]:
    db = Database(empty_url)
    yield db
    db.close()


def test_the_models_are_what_the_migrations_make(db: Database) -> None:
    migrations.upgrade(db)

    with db.reading() as sql:
        context = MigrationContext.configure(sql.connection(), opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_an_upgrade_is_pending_until_it_is_made(db: Database) -> None:
    assert migrations.pending(db)

    migrations.upgrade(db)

    assert not migrations.pending(db)


def test_a_second_upgrade_changes_nothing(db: Database) -> None:
    migrations.upgrade(db)
    with db.transaction() as sql:
        sql.execute(text("INSERT INTO events (at, name, data) VALUES (1, 'kept', '{}')"))

    migrations.upgrade(db)

    with db.reading() as sql:
        assert sql.scalars(text("SELECT name FROM events")).all() == ["kept"]


def test_upgrades_at_once_take_turns(empty_url: str) -> None:
    together, errors = threading.Barrier(4), []

    def upgrade() -> None:
        db = Database(empty_url)
        try:
            together.wait()
            migrations.upgrade(db)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must hear of it
            errors.append(error)
        finally:
            db.close()

    threads = [threading.Thread(target=upgrade) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    db = Database(empty_url)
    assert not migrations.pending(db)
    db.close()


def test_an_upgrade_that_fails_half_way_leaves_nothing(db: Database) -> None:
    with db.transaction() as sql:
        sql.execute(text("CREATE TABLE events (id INTEGER)"))  # the migration makes users and sessions before it

    with pytest.raises((StorageDown, ProgrammingError)):
        migrations.upgrade(db)

    with db.reading() as sql:
        assert sql.connection().dialect.has_table(sql.connection(), "events")
        assert not sql.connection().dialect.has_table(sql.connection(), "users")


def test_a_database_that_is_away_is_called_so() -> None:
    db = Database("postgresql://nobody@127.0.0.1:1/nowhere")

    with pytest.raises(StorageDown):
        migrations.upgrade(db)
    with pytest.raises(StorageDown):
        migrations.pending(db)
    db.close()
