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


TEXT, LIST = (str,), (list,)
NUMBER = (int, float)  # and not bool, which is a kind of int
REQUIRED: dict[str, tuple[type, ...]] = {"sub": TEXT, "client_id": TEXT, "iat": NUMBER, "exp": NUMBER}
OPTIONAL: dict[str, tuple[type, ...]] = {
    "scope": TEXT,
    "sid": TEXT,
    "gid": TEXT,
    "roles": LIST,
    "amr": LIST,
    "acr": TEXT,
    "auth_time": NUMBER,
}


def read(claims: dict[str, Any]) -> Caller:
    """The caller of verified claims. Raises TokenRefused if they are not of the types of RFC 9068."""
    for name, kinds in REQUIRED.items():
        if type(claims.get(name)) not in kinds:
            raise TokenRefused("malformed")
    for name, kinds in OPTIONAL.items():
        if name in claims and type(claims[name]) not in kinds:
            raise TokenRefused("malformed")
    said = claims.get
    roles, amr = said("roles", []), said("amr", [])
    if not {str}.issuperset(map(type, roles + amr)):
        raise TokenRefused("malformed")
    return Caller(
        claims["sub"], claims["client_id"], frozenset(said("scope", "").split()), said("sid"), said("gid"),
        frozenset(roles), tuple(amr), said("acr"), said("auth_time"), claims["iat"], claims["exp"],
        MappingProxyType(claims),
    )  # fmt: skip
