"""Passwords: argon2id in a bounded pool, the same work whether or not there is an account."""

import re
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from authsvc.core import metrics
from authsvc.core.errors import Busy, FieldError, InvalidFields, Unavailable
from authsvc.core.settings import Settings
from authsvc.login.common import is_common

T = TypeVar("T")


class Hasher:
    """Hashes as many passwords at once as this process has cores, lets some wait, and refuses the rest early."""

    def __init__(self, settings: Settings) -> None:
        self._argon2 = PasswordHasher(
            time_cost=settings.argon2_time_cost, memory_cost=settings.argon2_memory_kib, parallelism=1
        )
        self._pool = ThreadPoolExecutor(settings.hashers, thread_name_prefix="argon2")
        self._places = threading.BoundedSemaphore(settings.hashers + settings.hash_queue)
        self._nobody = self._argon2.hash(secrets.token_urlsafe())  # what the password of no account is compared with

    def hash(self, password: str) -> str:
        """The PHC string of a password. Raises Busy."""
        return self._in_turn(lambda: self._argon2.hash(_bytes(password)))

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is the stored one; as much work when there is none. Raises Busy."""

        def run() -> bool:
            try:
                return self._argon2.verify(stored or self._nobody, _bytes(password)) and stored is not None
            except (VerificationError, InvalidHashError):
                return False

        return self._in_turn(run)

    def outdated(self, stored: str) -> bool:
        return self._argon2.check_needs_rehash(stored)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        try:
            return self._pool.submit(work)
        except RuntimeError:  # the pool is closed: this process is about to stop
            raise Unavailable from None

    def _in_turn(self, work: Callable[[], T]) -> T:
        if not self._places.acquire(blocking=False):
            metrics.HASHES_REFUSED.inc()
            raise Busy
        try:
            with metrics.HASHES_PENDING.track_inprogress():
                return self._submit(partial(_timed, work)).result()
        finally:
            self._places.release()


def _timed(work: Callable[[], T]) -> T:
    with metrics.HASHES.time():
        return work()


def check_policy(settings: Settings, password: str, *, email: str, name: str = "") -> None:
    """Raises InvalidFields if this may not become a password (NIST SP 800-63B-4, 3.1.1.2: length, common ones, words of
    the account and the service; no rules about characters)."""
    if not settings.password_min <= len(password) <= settings.password_max:
        message = f"A password has {settings.password_min} to {settings.password_max} characters."
        raise InvalidFields(FieldError("password", "length", message))
    if is_common(password):
        raise InvalidFields(FieldError("password", "common", "Many people use this password. Choose another."))
    known = own_words(email, name, urlsplit(settings.public_url).hostname or "")
    if password.casefold() in (email.casefold(), name.casefold()) or is_common(password, known):
        raise InvalidFields(
            FieldError("password", "guessable", "Choose something other than your email, your name or our name.")
        )


def own_words(*known: str) -> set[str]:
    """The words of what everybody knows who knows the account: its email, its name, the service's host."""
    return set(re.findall(r"[^\W_]+", " ".join(known)))


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
