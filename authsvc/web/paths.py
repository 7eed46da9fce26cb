"""Where a browser may be sent."""

from urllib.parse import urlsplit

LONGEST_PATH = 8000  # characters that a browser is led back to


def is_ours(path: str) -> bool:
    """Whether a browser that is sent there stays with us."""
    plain = all(" " < char < "\x7f" for char in path) and "\\" not in path
    if not path.startswith("/") or path.startswith("//") or not plain:
        return False
    parts = urlsplit(path)
    return not parts.scheme and not parts.netloc
