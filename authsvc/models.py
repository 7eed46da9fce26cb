"""Every table on one page. Times are unix seconds, ids opaque strings."""

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, false, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {int: BigInteger, dict[str, Any]: JSON, list[str]: JSON, bytes: LargeBinary}


def table(model: type[Base]) -> Table:
    """A model's table, for statements that need no objects."""
    return Base.metadata.tables[model.__tablename__]


class User(Base):
    """`epoch` counts the times that all sessions were ended: a login that began before fails. `email_key` is the
    case-folded email, which is unique."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    email: Mapped[str] = mapped_column(String(320))
    email_key: Mapped[str] = mapped_column(String(640), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    roles: Mapped[list[str]]
    password: Mapped[str] = mapped_column(String(200))  # argon2id, PHC string
    epoch: Mapped[int] = mapped_column(server_default="0", default=0)
    created_at: Mapped[int]
    disabled_at: Mapped[int | None]


class Session(Base):
    """One row per session. `ended_at` is set once and never cleared; `hash` is sha256 of the token's secret."""

    __tablename__ = "sessions"

    sid: Mapped[str] = mapped_column(String(32), primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    version: Mapped[int] = mapped_column(server_default="0", default=0)
    data: Mapped[dict[str, Any]]
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[int]
    seen_at: Mapped[int]
    authenticated_at: Mapped[int]
    amr: Mapped[list[str]]
    remember: Mapped[bool] = mapped_column(server_default=false())
    ip: Mapped[str] = mapped_column(String(45))
    device: Mapped[str] = mapped_column(String(100))
    ended_at: Mapped[int | None]

    __table_args__ = (
        Index(None, "user_id", postgresql_where=text("ended_at IS NULL"), sqlite_where=text("ended_at IS NULL")),
    )


class Event(Base):
    """Facts: the audit log, and the outbox of those that are not yet delivered. `account` is a pseudonym."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    at: Mapped[int]
    name: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str | None] = mapped_column(String(32))
    sid: Mapped[str | None] = mapped_column(String(32))
    ip: Mapped[str | None] = mapped_column(String(45))
    account: Mapped[str | None] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    delivered_at: Mapped[int | None]

    __table_args__ = (
        Index("ix_events_undelivered", "id", postgresql_where=text("delivered_at IS NULL"),
              sqlite_where=text("delivered_at IS NULL")),
        Index("ix_events_sid", "sid"),
        Index("ix_events_ip_at", "ip", "at"),
        Index("ix_events_account_at", "account", "at"),
        {"sqlite_autoincrement": True},
    )  # fmt: skip
