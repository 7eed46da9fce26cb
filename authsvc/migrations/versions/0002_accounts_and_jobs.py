"""registrations, links, jobs, results, schedules; what accounts need for them"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("locale", sa.String(16), server_default="en", nullable=False))
    for name in ("logged_in_at", "email_refused_at", "delete_at"):
        op.add_column("users", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("events", sa.Column("request_id", sa.String(64), nullable=True))
    op.execute(sa.text("UPDATE users SET logged_in_at = created_at"))  # who was here before has logged in before
    for table, column, where in (
        ("users", "delete_at", "delete_at IS NOT NULL"),
        ("sessions", "seen_at", "ended_at IS NULL"),
        ("sessions", "created_at", "ended_at IS NULL"),
        ("sessions", "ended_at", "ended_at IS NOT NULL"),
    ):
        rows = sa.text(where)
        op.create_index(f"ix_{table}_{column}", table, [column], postgresql_where=rows, sqlite_where=rows)
    attempts = sa.text("name IN ('login.failed', 'registration.asked', 'password.forgotten')")
    op.create_index("ix_events_attempts", "events", ["at"], postgresql_where=attempts, sqlite_where=attempts)
    op.create_table(
        "registrations",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("email_key", sa.String(640), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("password", sa.String(200), nullable=False),
        sa.Column("locale", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_registrations"),
    )
    op.create_index("ix_registrations_email_key", "registrations", ["email_key"])
    op.create_index("ix_registrations_expires_at", "registrations", ["expires_at"])
    op.create_table(
        "links",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(32), nullable=False),
        sa.Column("account", sa.String(32), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("tries", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_links"),
    )
    op.create_index("ix_links_account", "links", ["account"])
    op.create_index("ix_links_expires_at", "links", ["expires_at"])
    op.create_index("ix_links_subject_purpose", "links", ["subject", "purpose"])
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("user_id", sa.String(32), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("leased_until", sa.BigInteger(), nullable=True),
        sa.Column("leased_by", sa.String(64), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("progress", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("error", sa.String(300), nullable=True),
        sa.Column("request_id", sa.String(64), nullable=True),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("dead_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    still_open = sa.text("done_at IS NULL AND dead_at IS NULL")
    op.create_index("ix_jobs_open", "jobs", ["due_at"], postgresql_where=still_open, sqlite_where=still_open)
    dead = sa.text("dead_at IS NOT NULL")
    op.create_index("ix_jobs_dead_at", "jobs", ["dead_at"], postgresql_where=dead, sqlite_where=dead)
    op.create_index("ix_jobs_user_id_kind", "jobs", ["user_id", "kind"])
    op.create_table(
        "results",
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("filename", sa.String(100), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_results_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name="pk_results"),
    )
    op.create_index("ix_results_expires_at", "results", ["expires_at"])
    op.create_table(
        "schedules",
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_schedules"),
    )
