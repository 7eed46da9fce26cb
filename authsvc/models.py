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
    locale: Mapped[str] = mapped_column(String(16), server_default="en", default="en")  # of mails and pages
    created_at: Mapped[int]
    disabled_at: Mapped[int | None]
    logged_in_at: Mapped[int | None]  # the first login: later ones from unknown devices are told by mail
    email_refused_at: Mapped[int | None]  # a mail server has said for good that there is no such address
    delete_at: Mapped[int | None]  # the account and all about it goes then, unless its owner takes that back

    __table_args__ = (
        Index(None, "delete_at", postgresql_where=text("delete_at IS NOT NULL"),
              sqlite_where=text("delete_at IS NOT NULL")),
    )  # fmt: skip


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
        Index(None, "seen_at", postgresql_where=text("ended_at IS NULL"), sqlite_where=text("ended_at IS NULL")),
        Index(None, "created_at", postgresql_where=text("ended_at IS NULL"), sqlite_where=text("ended_at IS NULL")),
        Index(None, "ended_at", postgresql_where=text("ended_at IS NOT NULL"),
              sqlite_where=text("ended_at IS NOT NULL")),
    )  # fmt: skip


ATTEMPTS = "name IN ('login.failed', 'registration.asked', 'password.forgotten')"  # core/events.py
REVOCATIONS = "name IN ('session.ended', 'grant.ended', 'roles.changed', 'account.changed')"  # domain/revocations.py


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
    request_id: Mapped[str | None] = mapped_column(String(64))
    delivered_at: Mapped[int | None]

    __table_args__ = (
        Index("ix_events_undelivered", "id", postgresql_where=text("delivered_at IS NULL"),
              sqlite_where=text("delivered_at IS NULL")),
        Index("ix_events_sid", "sid"),
        Index("ix_events_ip_at", "ip", "at"),
        Index("ix_events_account_at", "account", "at"),
        Index("ix_events_attempts", "at", postgresql_where=text(ATTEMPTS), sqlite_where=text(ATTEMPTS)),
        Index("ix_events_revocations", "at", postgresql_where=text(REVOCATIONS), sqlite_where=text(REVOCATIONS)),
        {"sqlite_autoincrement": True},
    )  # fmt: skip


class Registration(Base):
    """An account that somebody has asked for. Each has its own password; the one whose link is used becomes the
    account, and the others of that email go."""

    __tablename__ = "registrations"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    email: Mapped[str] = mapped_column(String(320))
    email_key: Mapped[str] = mapped_column(String(640), index=True)
    name: Mapped[str] = mapped_column(String(200))
    password: Mapped[str] = mapped_column(String(200))
    locale: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[int]
    expires_at: Mapped[int] = mapped_column(index=True)


class Link(Base):
    """What a link or a code in a mail stands for. `subject` is a user's or a registration's id. The token itself is
    made anew from the id (domain/links.py), so nothing in here opens anything."""

    __tablename__ = "links"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(32))
    account: Mapped[str | None] = mapped_column(String(32))  # a pseudonym of the address, where there is a code
    data: Mapped[dict[str, Any]]
    tries: Mapped[int] = mapped_column(server_default="0", default=0)  # of the code
    created_at: Mapped[int]
    expires_at: Mapped[int] = mapped_column(index=True)
    used_at: Mapped[int | None]

    __table_args__ = (Index("ix_links_subject_purpose", "subject", "purpose"), Index("ix_links_account", "account"))


class Job(Base):
    """Work that happens later, at least once, until it is done or dead. `due_at` is when the relay hands it to a worker
    (again); `leased_until` keeps two workers from the same job."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    user_id: Mapped[str | None] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[int]
    due_at: Mapped[int]
    leased_until: Mapped[int | None]
    leased_by: Mapped[str | None] = mapped_column(String(64))  # the message on which it was begun
    attempts: Mapped[int] = mapped_column(server_default="0", default=0)
    progress: Mapped[int] = mapped_column(server_default="0", default=0)  # percent
    error: Mapped[str | None] = mapped_column(String(300))  # why the last attempt failed
    request_id: Mapped[str | None] = mapped_column(String(64))  # of the request that has left it
    done_at: Mapped[int | None]
    dead_at: Mapped[int | None]

    __table_args__ = (
        Index("ix_jobs_open", "due_at", postgresql_where=text("done_at IS NULL AND dead_at IS NULL"),
              sqlite_where=text("done_at IS NULL AND dead_at IS NULL")),
        Index("ix_jobs_dead_at", "dead_at", postgresql_where=text("dead_at IS NOT NULL"),
              sqlite_where=text("dead_at IS NOT NULL")),
        Index("ix_jobs_user_id_kind", "user_id", "kind"),
    )  # fmt: skip


class Result(Base):
    """What a job has made for its user to fetch, until it expires."""

    __tablename__ = "results"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    filename: Mapped[str] = mapped_column(String(100))
    body: Mapped[bytes]
    expires_at: Mapped[int] = mapped_column(index=True)


class Schedule(Base):
    """When each periodic job is due next: whichever relay moves the time on has the turn."""

    __tablename__ = "schedules"

    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    due_at: Mapped[int]


class SigningKey(Base):
    """A key that signs tokens. `public` is its JWK; `private` the private one, sealed by the installation's secret. It
    is published from `created_at` on, signs from `signs_at` until the next one does, and goes once nothing that it has
    signed is valid any more. One that is revoked is refused at once."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(unique=True)  # each is one higher than the one before
    alg: Mapped[str] = mapped_column(String(16))
    public: Mapped[dict[str, Any]]
    private: Mapped[bytes]
    created_at: Mapped[int]
    signs_at: Mapped[int]
    revoked_at: Mapped[int | None]


class Client(Base):
    """An application that gets tokens here: a public one, or one with a secret, of which a keyed SHA-256 is stored.
    `first_party` needs no consent of the user."""

    __tablename__ = "clients"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    secret: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    grant_types: Mapped[list[str]]
    redirect_uris: Mapped[list[str]]
    logout_uris: Mapped[list[str]]  # where a browser may be sent after a logout
    backchannel_uri: Mapped[str | None] = mapped_column(String(2048))
    scopes: Mapped[list[str]]
    audiences: Mapped[list[str]]
    first_party: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[int]


class Consent(Base):
    """What a user lets a client of somebody else do."""

    __tablename__ = "consents"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"), primary_key=True)
    scopes: Mapped[list[str]]
    granted_at: Mapped[int]


class Grant(Base):
    """What came of one code: access tokens with its id, and a family of refresh tokens. These are not stored: the one
    of a `generation` is made anew from the id (domain/grants.py). It ends with its session, or before that."""

    __tablename__ = "grants"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    sid: Mapped[str] = mapped_column(ForeignKey("sessions.sid", ondelete="CASCADE"), index=True)
    scope: Mapped[str] = mapped_column(String(2000))
    audience: Mapped[str] = mapped_column(String(2000))
    generation: Mapped[int] = mapped_column(server_default="0", default=0)
    rotated_at: Mapped[int]
    created_at: Mapped[int]
    expires_at: Mapped[int] = mapped_column(index=True)
    ended_at: Mapped[int | None]
    ended_why: Mapped[str | None] = mapped_column(String(32))


class Code(Base):
    """An authorization code: sha256 of it, and what it was given for. `grant_id` is what came of it."""

    __tablename__ = "codes"

    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    sid: Mapped[str] = mapped_column(ForeignKey("sessions.sid", ondelete="CASCADE"), index=True)
    redirect_uri: Mapped[str] = mapped_column(String(2048))
    scope: Mapped[str] = mapped_column(String(2000))
    audience: Mapped[str] = mapped_column(String(2000))
    nonce: Mapped[str | None] = mapped_column(String(512))
    challenge: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[int]
    expires_at: Mapped[int] = mapped_column(index=True)
    used_at: Mapped[int | None]
    grant_id: Mapped[str | None] = mapped_column(String(32))


class ApiKey(Base):
    """A key that a person has made for programs that act as them; a keyed SHA-256 of its secret is stored."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    scopes: Mapped[list[str]]
    created_at: Mapped[int]
    expires_at: Mapped[int | None]
    used_at: Mapped[int | None]
    revoked_at: Mapped[int | None]


class RevokedToken(Base):
    """An access token of a client itself that was revoked before its time; it is kept for as long as it would live."""

    __tablename__ = "revoked_tokens"

    jti: Mapped[str] = mapped_column(String(32), primary_key=True)
    expires_at: Mapped[int] = mapped_column(index=True)
