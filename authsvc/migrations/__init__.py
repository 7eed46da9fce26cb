"""The schema and its history. Migrations only add, so that the version before goes on running beside this one."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from authsvc.db import Database

LOCK = 0x61757468  # any number; whoever migrates a PostgreSQL database holds this advisory lock


def upgrade(db: Database) -> None:
    """Bring the database to the newest schema. Two at once take turns. Raises StorageDown."""
    with db.transaction() as sql:
        connection = sql.connection()
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = '60s'"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        command.upgrade(_config(connection), "head")


def pending(db: Database) -> bool:
    """Whether the database is behind the newest schema. Raises StorageDown."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    with db.reading() as sql:
        return MigrationContext.configure(sql.connection()).get_current_revision() != newest


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config
