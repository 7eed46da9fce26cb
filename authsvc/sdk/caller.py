"""Who calls: what a valid access token says, and what may be asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from authsvc.core.errors import Forbidden, InsufficientAuthentication, InsufficientScope, TokenRefused


@dataclass(frozen=True, slots=True)
class Caller:
    """From an access token (RFC 9068, 2.2). `session`, `roles`, `amr`, `acr` and `auth_time` are those of a person, and
    empty for a service that came by itself. Times are unix seconds."""

    subject: str
    client_id: str
    scopes: frozenset[str]
    session: str | None
    grant: str | None
    roles: frozenset[str]
    amr: tuple[str, ...]
    acr: str | None
    auth_time: float | None
    issued: float
    expires: float
    claims: Mapping[str, Any] = field(repr=False, hash=False)

    def demand(self, *, scope: str = "", role: str | None = None, max_age: int | None = None, now: float) -> None:
        """Raises InsufficientScope unless every word of `scope` is allowed, Forbidden without the role, and
        InsufficientAuthentication if the login is more than `max_age` seconds ago (RFC 9470)."""
        if not self.scopes.issuperset(scope.split()):
            raise InsufficientScope(scope)
        if role is not None and role not in self.roles:
            raise Forbidden
        if max_age is not None and (self.auth_time is None or now - self.auth_time > max_age):
            raise InsufficientAuthentication(max_age)


def read(claims: dict[str, Any]) -> Caller:
    """The caller of verified claims. Raises TokenRefused if they are not of the types of RFC 9068."""
    return Caller(
        subject=_claim(claims, "sub", str),
        client_id=_claim(claims, "client_id", str),
        scopes=frozenset((_optional(claims, "scope", str) or "").split()),
        session=_optional(claims, "sid", str),
        grant=_optional(claims, "gid", str),
        roles=frozenset(_words(claims, "roles")),
        amr=tuple(_words(claims, "amr")),
        acr=_optional(claims, "acr", str),
        auth_time=_optional(claims, "auth_time", (int, float)),
        issued=_claim(claims, "iat", (int, float)),
        expires=_claim(claims, "exp", (int, float)),
        claims=MappingProxyType(claims),
    )


def _claim(claims: dict[str, Any], name: str, kind: Any) -> Any:
    value = claims.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TokenRefused("malformed")
    return value


def _optional(claims: dict[str, Any], name: str, kind: Any) -> Any:
    return _claim(claims, name, kind) if name in claims else None


def _words(claims: dict[str, Any], name: str) -> list[str]:
    words = claims.get(name, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise TokenRefused("malformed")
    return words
