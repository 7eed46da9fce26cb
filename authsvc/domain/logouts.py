"""Who has to be told of a logout: the clients that a session has logged in to, and want to hear of it (OpenID Connect
Back-Channel Logout 1.0). Each is a job, written in the transaction that ends the session."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, event, select
from sqlalchemy.orm import Session as Sql

from authsvc.core import jwt
from authsvc.core.settings import Settings
from authsvc.core.store import Clock
from authsvc.domain import jobs
from authsvc.domain.clients import Clients
from authsvc.domain.jobs import Job, Jobs
from authsvc.domain.keys import Keys
from authsvc.models import Client, Grant

EVENT = "http://schemas.openid.net/event/backchannel-logout"
LIFE = 120  # seconds, as the standard recommends (2.4)
AT_ONCE = 500  # sessions in one statement

LOGGED_IN = (
    select(Grant.client_id, Grant.sid, Grant.user_id)
    .join(Client, Client.id == Grant.client_id)
    .where(Grant.sid.in_(bindparam("sids", expanding=True)), Client.backchannel_uri.is_not(None))
    .distinct()
)


@dataclass(frozen=True, slots=True)
class Notice:
    uri: str
    token: str


def tell(sql: Sql, queue: Jobs, sids: Sequence[str], now: int) -> None:
    """Write a job for each client that these sessions, which end in the caller's transaction, have logged in to."""
    told = False
    for start in range(0, len(sids), AT_ONCE):
        for client_id, sid, user_id in sql.execute(LOGGED_IN, {"sids": sids[start : start + AT_ONCE]}):
            jobs.add(sql, jobs.LOGOUT, now, user=user_id, data={"client": client_id, "sid": sid})
            told = True
    if told:
        event.listen(sql, "after_commit", lambda _: queue.wake(), once=True)


class Logouts:
    def __init__(self, clients: Clients, keys: Keys, settings: Settings, clock: Clock) -> None:
        self._clients = clients
        self._keys = keys
        self._settings = settings
        self._clock = clock

    def notice(self, job: Job) -> Notice | None:
        """What a client is sent, and where; None if it is gone or wants nothing any more. A repeated try has the same
        `jti`. Raises StorageDown."""
        client = self._clients.find(job.data["client"])
        if client is None or client.backchannel_uri is None:
            return None
        now = int(self._clock())
        claims = {
            "iss": self._settings.public_url, "sub": job.user, "aud": client.id, "iat": now, "exp": now + LIFE,
            "jti": job.id, "sid": job.data["sid"], "events": {EVENT: {}},
        }  # fmt: skip
        return Notice(client.backchannel_uri, jwt.sign(self._keys.signing(), jwt.LOGOUT_TOKEN, claims))
