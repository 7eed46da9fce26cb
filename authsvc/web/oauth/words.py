"""What scopes let a client do, in the reader's language."""

from flask_babel import lazy_gettext

from authsvc.core import scopes

WORDS = {
    scopes.OPENID: lazy_gettext("know that it is you"),
    scopes.PROFILE: lazy_gettext("see your name"),
    scopes.EMAIL: lazy_gettext("see your email"),
    scopes.OFFLINE: lazy_gettext("stay connected while you are logged in here"),
    scopes.FORWARD_AUTH: lazy_gettext("open pages that are behind your login"),
}


def in_words(scope: str) -> str:
    """A scope of this installation's own stands for itself."""
    return str(WORDS.get(scope, scope))
