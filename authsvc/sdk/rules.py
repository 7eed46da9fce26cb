"""What a verifier decides, without I/O: the same generators run through the sync door and the async one (verifier.py).

A token that was verified is kept, and found again by one look-up; what may have changed since is looked at each time:
the clock, the feed, the sets of what has been revoked.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeVar

from authsvc.core import jwt
from authsvc.core.errors import IssuerDown, RevocationsUnknown, TokenRefused, Unavailable
from authsvc.core.jwt import PublicKey
from authsvc.sdk import caller as callers
from authsvc.sdk.caller import Caller
from authsvc.sdk.feed import Feed, log
from authsvc.sdk.issuer import Issuer, Request
from authsvc.sdk.keys import KeyCache
from authsvc.sdk.revoked import LEEWAY, LONGEST_LIFE, Revoked, Roles

MAX_KEPT = 10_000  # tokens
BREAK = 1.0  # seconds for which introspection is left alone after it failed

T = TypeVar("T")
OnStale = Literal["refuse", "introspect"] | float


class Load(NamedTuple):
    """Run `Rules.load` with these, one at a time; others wait for it."""

    kid: str | None = None
    anew: bool = False


class Renew(NamedTuple):
    """The same, in the background."""


class Begin(NamedTuple):
    """Wait until the feed is complete for the first time, but not long."""


Step = Request | Load | Renew | Begin
Operation = Generator[Step, Any, T]


class Kept(NamedTuple):
    caller: Caller
    until: float  # unix seconds
    roles: Roles | None  # what had been heard of the user's roles


class Metrics(NamedTuple):
    """Counts since the start, of which a few may be missed where threads count at once; and how things stand."""

    verified: int  # signatures checked
    cache_hits: int
    introspected: int
    refused: dict[str, int]  # by reason
    jwks_fetches: int
    feed: str  # fresh, stale, or off
    feed_age: float | None  # seconds since its last byte; None if it was never complete
    revoked: int  # entries
    kept: int  # tokens


class Rules:
    def __init__(
        self,
        issuer: Issuer,
        audience: str,
        on_stale: OnStale,
        silence: float,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (on_stale in ("refuse", "introspect") or (isinstance(on_stale, int | float) and on_stale >= 0)):
            raise ValueError("on_stale is refuse, introspect, or a number of seconds")
        if not silence > 0:
            raise ValueError("silence is a number of seconds")
        if issuer.credentials is None and on_stale != math.inf:
            raise ValueError(
                "without client_id and client_secret no revocation is heard of: give them, or say on_stale=math.inf"
            )
        self.issuer = issuer
        self.audience = audience
        self.keys = KeyCache()
        self.revoked = Revoked()
        self.feed = Feed(self.revoked, silence, 0 if isinstance(on_stale, str) else on_stale, ticks)
        self._introspects = on_stale == "introspect"
        self._introspects_from = -math.inf
        self._clock = clock
        self._ticks = ticks
        self._kept: dict[str, Kept] = {}
        self._lock = threading.Lock()
        self._hits = self._verified = self._introspected = 0
        self._refused: Counter[str] = Counter()

    def known(self, token: str) -> Caller | None:
        """The caller of a token that was verified before, if nothing speaks against it since; else None."""
        kept = self._kept.get(token)
        if kept is None or self._clock() >= kept.until or self._ticks() >= self.feed.good_until:
            return None
        caller = kept.caller
        ended = self.revoked.ended
        if caller.session in ended or caller.grant in ended or self.revoked.roles.get(caller.subject) is not kept.roles:
            return None
        self._hits += 1
        return caller

    def check(self, token: str) -> Operation[Caller]:
        """Raises TokenRefused, IssuerDown or RevocationsUnknown."""
        try:
            caller, keys = yield from self._verify(token)
            return (yield from self._unless_revoked(token, caller, keys))
        except TokenRefused as error:
            self._refused[error.reason] += 1
            raise
        except Unavailable as error:
            self._refused[error.code] += 1
            raise

    def _verify(self, token: str) -> Operation[tuple[Caller, Mapping[str, PublicKey]]]:
        kid = jwt.kid_of(token)
        if not self.keys.settled(kid, self._ticks()):
            yield from self._want_key(kid)
            if not self.keys.usable(self._ticks()):
                raise IssuerDown
        keys = self.keys.keys
        caller = callers.read(
            jwt.verify(
                token, keys, typ=jwt.ACCESS_TOKEN, issuer=self.issuer.url, audience=self.audience, now=self._clock(),
                leeway=LEEWAY,
            )
        )  # fmt: skip
        if caller.expires - caller.issued > LONGEST_LIFE:
            raise TokenRefused("lifetime")
        self._verified += 1
        return caller, keys

    def _want_key(self, kid: str) -> Operation[None]:
        """Nobody waits for keys that are merely no longer fresh."""
        now = self._ticks()
        if self.keys.usable(now) and not self.keys.unheard(kid, now):
            if self.keys.due(now):
                yield Renew()
            return
        try:
            yield Load(kid)
        except Unavailable as error:
            log.warning("the keys of %s: %s", self.issuer.url, error)

    def load(self, kid: str | None = None, anew: bool = False) -> Operation[None]:
        """Ask for the keys if that is still worth it; `anew` believes none that are there. Raises IssuerDown or
        KeysRefused."""
        if anew:
            self.keys.expire(self._ticks())
            self._forget()
        if not self.keys.worth_asking(kid, self._ticks()):
            return
        self.keys.asking(self._ticks())
        document, cache_control = yield from self.issuer.keys()
        if self.keys.fill(document, cache_control, self._ticks()):
            self._forget()
        if kid is not None and kid not in self.keys.keys:
            self.keys.missing(kid, self._ticks())

    def _unless_revoked(self, token: str, caller: Caller, keys: Mapping[str, PublicKey]) -> Operation[Caller]:
        if self.feed.heard is None and self.feed.good_until != math.inf:
            yield Begin()
        roles = self.revoked.roles.get(caller.subject)
        if self.revoked.has(caller):
            raise TokenRefused("revoked")
        if roles and caller.issued <= roles.at:
            caller = replace(caller, roles=roles.roles)
        if self._ticks() < self.feed.good_until:
            until = min(caller.expires + LEEWAY, self._clock() + self.keys.doubted_for(self._ticks()))
            self._keep(token, Kept(caller, until, roles), keys)
        else:
            yield from self._introspect(token)
        return caller

    def _introspect(self, token: str) -> Operation[None]:
        if not self._introspects or self._ticks() < self._introspects_from:
            raise RevocationsUnknown
        self._introspected += 1
        try:
            active = yield from self.issuer.active(token)
        except IssuerDown as error:
            self._introspects_from = self._ticks() + BREAK
            raise RevocationsUnknown from error
        if not active:
            raise TokenRefused("revoked")

    def _keep(self, token: str, kept: Kept, keys: Mapping[str, PublicKey]) -> None:
        with self._lock:
            if keys is self.keys.keys:  # else the key may be gone by now
                if len(self._kept) >= MAX_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[token] = kept

    def _forget(self) -> None:
        with self._lock:
            self._kept.clear()

    def open_feed(self) -> Operation[tuple[str, dict[str, str]]]:
        """Where the feed is, and the headers to ask for it with."""
        addresses = yield from self.issuer.addresses()
        token = yield from self.issuer.token()
        return addresses.feed, self.feed.headers(token)

    def hear(self, event: str, data: str, cursor: str) -> Operation[None]:
        """An event of the feed. Whatever is raised, the feed must be asked again from the last cursor. There is none
        after a token that is not believed: its key may have been revoked, and a snapshot is signed anew."""
        if event == "set":
            try:
                self.revoked.hear((yield from self._security_event(data)), self._ticks())
            except TokenRefused:
                self.feed.cursor = ""
                raise
        elif event == "ready":
            self.feed.ready()
        elif event == "keys":
            yield Load(anew=True)
        self.feed.cursor = cursor or self.feed.cursor

    def _security_event(self, token: str) -> Operation[dict[str, Any]]:
        yield from self._want_key(jwt.kid_of(token))
        return jwt.verify(
            token, self.keys.keys, typ=jwt.SECURITY_EVENT, issuer=self.issuer.url, audience=self.issuer.url,
            now=self._clock(), leeway=LEEWAY, must_expire=False,
        )  # fmt: skip

    def metrics(self) -> Metrics:
        heard = self.feed.heard
        return Metrics(
            verified=self._verified,
            cache_hits=self._hits,
            introspected=self._introspected,
            refused=dict(self._refused),
            jwks_fetches=self.keys.fetches,
            feed=self.feed.state(),
            feed_age=None if heard is None else self._ticks() - heard,
            revoked=len(self.revoked),
            kept=len(self._kept),
        )
