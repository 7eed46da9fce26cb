"""What one installation owns: its folder, the secret in it, and the lock that lets one `authsvc run` work there."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from authsvc.core.errors import Misconfigured
from authsvc.core.settings import SECRET_FILE, Settings

ADDRESS_FILE = "public_url"
LONGEST_SOCKET_PATH = 107  # bytes; sun_path of unix(7) less its final NUL


def prepare(settings: Settings) -> None:
    """Make the folder and the secret if they are not there. Raises Misconfigured."""
    folder = settings.instance
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_fresh(folder):
            folder.chmod(folder.stat().st_mode & 0o700)  # a folder that holds other things already is left as it is
        if not settings.secret_keys:
            _make_secret(folder)
    except OSError as error:
        raise unusable(folder, error) from None


def unusable(folder: Path, error: OSError) -> Misconfigured:
    return Misconfigured(
        f"Cannot use the folder {folder.absolute()}: {error.strerror}. "
        "Make it a folder that you may write to, or set AUTHSVC_INSTANCE to another."
    )


def keep_address(settings: Settings) -> None:
    """Note where `authsvc run` is to be found, for commands that are told nothing of it. Raises Misconfigured."""
    try:
        (settings.instance / ADDRESS_FILE).write_text(settings.public_url + "\n")
    except OSError as error:
        raise unusable(settings.instance, error) from None


def with_address(settings: Settings) -> Settings:
    """The settings, with the address at which `authsvc run` was to be found if they name none."""
    kept = settings.instance / ADDRESS_FILE
    if settings.public_url or not kept.exists():
        return settings
    return settings.model_copy(update={"public_url": kept.read_text().strip()})


@contextmanager
def only_copy(folder: Path) -> Iterator[None]:
    """Held while `authsvc run` works in a folder; it ends with the process, however that ends. Raises Misconfigured."""
    try:
        file = (folder / "lock").open("a+")
    except OSError as error:
        raise unusable(folder, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Misconfigured(
                f"authsvc runs already in {folder.absolute()}, as process {file.read().strip()}. "
                "Stop that one, or set AUTHSVC_INSTANCE to another folder."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def check_socket_path(settings: Settings) -> None:
    """Raises Misconfigured if the embedded Valkey could not be reached on its socket."""
    length = len(os.fsencode(settings.valkey_socket))
    if length > LONGEST_SOCKET_PATH:
        raise Misconfigured(
            f"The path of the socket {settings.valkey_socket} has {length} bytes; {LONGEST_SOCKET_PATH} is the most. "
            "Set AUTHSVC_INSTANCE to a shorter path, or AUTHSVC_REDIS_URL to a Redis server of your own."
        )


def _is_fresh(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= {"README.md"}


def _make_secret(folder: Path) -> None:
    """Whole or not at all, and never over one that is there: of two processes at once, both use the first's."""
    kept, new = folder / SECRET_FILE, folder / f"{SECRET_FILE}.{secrets.token_hex(4)}"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(new, kept)
    finally:
        new.unlink()
