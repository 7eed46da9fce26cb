"""Scopes: what a token allows (RFC 6749, 3.3). Some are built in; an installation adds those of its own services."""

from authsvc.core.settings import Settings

OPENID, PROFILE, EMAIL, OFFLINE = "openid", "profile", "email", "offline_access"
FORWARD_AUTH = "forward-auth"  # to be let through by a proxy that asks us
PUBLISH, PRESENCE, REVOCATIONS = "publish", "presence", "revocations"  # of the bridge

FOR_LOGIN = (OPENID, PROFILE, EMAIL, OFFLINE)
FOR_PEOPLE = (*FOR_LOGIN, FORWARD_AUTH)
FOR_SERVICES = (PUBLISH, PRESENCE, REVOCATIONS)


def allowed(settings: Settings, *, service: bool = False) -> frozenset[str]:
    """What may be asked for in this installation, for a person or by a service for itself."""
    return frozenset((*FOR_PEOPLE, *settings.scopes, *(FOR_SERVICES if service else ())))
