"""Facts: what has happened, under names of the form noun.past-verb.

A fact is a row of SQL `events` (audit log and outbox at once). Those in `LIVE` also go to Redis, for everything live.
"""

import json
from dataclasses import dataclass, field, fields
from typing import Any

from authsvc.core import request_ids

SESSION_STARTED = "session.started"
SESSION_ENDED = "session.ended"
SESSION_EXPIRING = "session.expiring"  # told live by whoever holds its connections, and kept nowhere
ACCOUNT_CHANGED = "account.changed"
ROLES_CHANGED = "roles.changed"
USER_CREATED = "user.created"
USER_DELETED = "user.deleted"
LOGIN_FAILED = "login.failed"
REGISTRATION_ASKED = "registration.asked"
PASSWORD_FORGOTTEN = "password.forgotten"  # noqa: S105 - a name
API_KEY_CREATED = "api_key.created"
API_KEY_REVOKED = "api_key.revoked"
KEY_REVOKED = "key.revoked"
GRANT_ENDED = "grant.ended"  # what a user has given a client, before the session ends
TASK_CHANGED = "task.changed"  # progress: told live and kept nowhere

LIVE = frozenset(
    {SESSION_STARTED, SESSION_ENDED, ACCOUNT_CHANGED, ROLES_CHANGED, KEY_REVOKED, GRANT_ENDED, TASK_CHANGED}
)

ATTEMPTS = (LOGIN_FAILED, REGISTRATION_ASKED, PASSWORD_FORGOTTEN)  # what strangers may do only so often

STREAM = "authsvc:facts"  # a Redis stream and a pub/sub channel, both of this name
STREAM_LENGTH = 100_000  # entries: the fact as `fact`, and what verifiers are told of it, if anything, as `set`


@dataclass(frozen=True, slots=True)
class Fact:
    """`at` in unix seconds; `id` is None until it has a row; `request_id` is that of the request it came from."""

    name: str
    user: str | None
    at: int
    sid: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    id: int | None = None
    request_id: str | None = field(default_factory=request_ids.current)


NAMES = frozenset(each.name for each in fields(Fact))


def dump(fact: Fact) -> bytes:
    return json.dumps(
        {
            "id": fact.id, "name": fact.name, "user": fact.user, "at": fact.at, "sid": fact.sid, "data": fact.data,
            "request_id": fact.request_id,
        },
        separators=(",", ":"),
    ).encode()  # fmt: skip


def parse(message: bytes) -> Fact | None:
    """The fact in a message from Redis, which may be that of a newer version; None for anything that is not one."""
    try:
        return Fact(**{name: value for name, value in json.loads(message).items() if name in NAMES})
    except (ValueError, TypeError, AttributeError):
        return None
