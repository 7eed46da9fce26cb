"""Times on the wire."""

import time


def rfc3339(seconds: int) -> str:
    """A unix time as the API writes it: UTC, whole seconds (RFC 3339)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
