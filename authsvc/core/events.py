"""Facts: what has happened, under names of the form noun.past-verb.

A fact is a row of SQL `events` (audit log and outbox at once). Those in `LIVE` also go to Redis, for everything live.
"""

import json
from dataclasses import dataclass, field
from typing import Any

SESSION_STARTED = "session.started"
SESSION_ENDED = "session.ended"
ACCOUNT_CHANGED = "account.changed"
ROLES_CHANGED = "roles.changed"
USER_CREATED = "user.created"
USER_DELETED = "user.deleted"
LOGIN_FAILED = "login.failed"
REGISTRATION_ASKED = "registration.asked"
PASSWORD_FORGOTTEN = "password.forgotten"  # noqa: S105 - a name
TASK_CHANGED = "task.changed"  # progress: told live and kept nowhere

LIVE = frozenset({SESSION_STARTED, SESSION_ENDED, ACCOUNT_CHANGED, ROLES_CHANGED, TASK_CHANGED})

ATTEMPTS = (LOGIN_FAILED, REGISTRATION_ASKED, PASSWORD_FORGOTTEN)  # what strangers may do only so often

STREAM = "authsvc:facts"  # a Redis stream and a pub/sub channel, both of this name
STREAM_LENGTH = 100_000


@dataclass(frozen=True, slots=True)
class Fact:
    """`at` in unix seconds; `id` is None until it has a row."""

    name: str
    user: str | None
    at: int
    sid: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    id: int | None = None


def dump(fact: Fact) -> bytes:
    return json.dumps(
        {"id": fact.id, "name": fact.name, "user": fact.user, "at": fact.at, "sid": fact.sid, "data": fact.data},
        separators=(",", ":"),
    ).encode()


def parse(message: bytes) -> Fact | None:
    """The fact in a message from Redis; None for anything that is not one."""
    try:
        return Fact(**json.loads(message))
    except (ValueError, TypeError):
        return None
