"""Mails as jobs: what to say to whom. The words, and the secret of the link, are put in when the mail is sent."""

from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.orm import Session as Sql

from authsvc.domain import jobs

VERIFY_EMAIL = "verify_email"  # to a new address, with link and code
ALREADY_REGISTERED = "already_registered"  # to the owner of an address that somebody has registered again
RESET_PASSWORD = "reset_password"  # noqa: S105 - a name; with link and code
PASSWORD_CHANGED = "password_changed"  # noqa: S105
CHANGE_EMAIL = "change_email"  # to the new address, with link and code
EMAIL_CHANGED = "email_changed"  # to the old address
NEW_DEVICE = "new_device"  # with the link "this wasn't me"
ACCOUNT_DELETION = "account_deletion"  # with the link that takes it back
ACCOUNT_DELETED = "account_deleted"

TEMPLATES = (
    VERIFY_EMAIL, ALREADY_REGISTERED, RESET_PASSWORD, PASSWORD_CHANGED, CHANGE_EMAIL, EMAIL_CHANGED, NEW_DEVICE,
    ACCOUNT_DELETION, ACCOUNT_DELETED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mail:
    """`link` is the id and the purpose of the link in it. `facts` are what the template names: `name`, `device`, `ip`,
    `at` (unix seconds), `email`; nothing secret."""

    template: str
    to: str
    locale: str
    link: tuple[str, str] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def add(sql: Sql, mail: Mail, now: float, *, user: str | None = None) -> str:
    """Have it sent if the caller's transaction is committed; returns the id of the job. `Jobs.wake()` after that."""
    return jobs.add(sql, jobs.MAIL, now, user=user, data=asdict(mail))


def of(data: dict[str, Any]) -> Mail:
    """The mail in a job's data."""
    link = data["link"]
    return Mail(data["template"], data["to"], data["locale"], (link[0], link[1]) if link else None, data["facts"])
