"""Run by Alembic for every command; the engine comes from authsvc.migrations, never from a file."""

from alembic import context

from authsvc.models import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
