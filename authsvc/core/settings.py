"""Settings: one frozen object, read once from `AUTHSVC_*` and checked at start.

Where `AUTHSVC_DATABASE_URL` or `AUTHSVC_REDIS_URL` is not given, the installation keeps its own in `instance/`:
a SQLite file, and a Valkey that `authsvc run` starts.
"""

import os
from email.utils import parseaddr
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from authsvc.core import redis_url
from authsvc.core.errors import Misconfigured

MINUTE, HOUR, DAY = 60, 3600, 86400
MAKE_A_SECRET = "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"  # noqa: S105 - a hint
EXAMPLES = ("change", "example", "secret", "password", "insecure", "development", "0123456789", "abcdef")
SECRET_FILE = "secret_keys"  # noqa: S105 - a file's name


class Settings(BaseSettings):
    """Everything that an operator can set. Durations are in seconds. Lists are separated by commas."""

    model_config = SettingsConfigDict(
        env_prefix="AUTHSVC_", frozen=True, extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    instance: Path = Path("instance")
    """The folder that one installation owns: secrets, and where nothing else is set, database and Valkey."""

    public_url: str = ""
    """Where browsers find the service, such as `https://login.example.org`: the origin of pages, cookies and links.
    Required outside `authsvc run`. The `Host` header is never used for this."""

    secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Secrets of at least 32 characters, newest first: the first makes tags, all are accepted. Required outside
    `authsvc run`, which keeps one in `instance/secret_keys`."""

    database_url: str = ""
    """`postgresql://user:password@host/name`, or `sqlite:///path`. Default: `instance/authsvc.sqlite3`."""

    redis_url: str = ""
    """One server: `redis://user:password@host:port/0`, `rediss://...` or `unix:///path`; or the master that Sentinels
    name: `redis+sentinel://user:password@host:port,host:port/master-name/0?sentinel_password=...`; or a Cluster:
    `redis+cluster://user:password@host:port,host:port`; `rediss+...` with TLS. Default: the Valkey of `authsvc run`."""

    broker_url: SecretStr = SecretStr("")
    """Where Celery's queues are: `redis://`, `rediss://` or `unix:///path`, a single server. Default: `redis_url`."""

    smtp_url: SecretStr = SecretStr("")
    """The mail server: `smtp://user:password@host:587` (STARTTLS, required unless the host is loopback) or
    `smtps://...` (TLS from the start). Default: the mailbox of `authsvc run`, which sends nothing."""

    mail_from: str = ""
    """The sender of mails, such as `Example <login@example.org>`. Default: `no-reply@` at the host of `public_url`."""

    ops_port: int = Field(0, ge=0, le=65535)
    """The port on loopback for operators: `/readyz` by part, `/metrics`. 0: none; `authsvc run` has 9000."""

    log_format: Literal["text", "json"] = "text"
    """What the log is written as: `text` for people, or `json`, one object a line."""

    trusted_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Other origins of the same site that may call with cookies, such as `https://app.example.org`."""

    trusted_proxies: int = Field(0, ge=0, le=8)
    """How many proxies stand in front and append to `X-Forwarded-For`. 0: the header is ignored."""

    cookie_secure: bool = True
    """Whether the cookie is `__Host-session` with `Secure`. `authsvc run` turns it off on plain HTTP."""

    port: int = Field(8000, ge=1, le=65535)
    """The port on which `run`, `web` or `bridge` listens."""

    host: str = "127.0.0.1"
    """The address on which `run`, `web` or `bridge` listens."""

    web_threads: int = Field(32, ge=2, le=512)
    """Threads of a web process. Keep it above `hash_workers` + `hash_queue`, so that logins never block checks."""

    web_workers: int = Field(1, ge=1, le=64)
    """Processes of `authsvc web`."""

    hash_workers: int = Field(0, ge=0, le=256)
    """Passwords hashed at once by one process. 0: the cores of the machine divided by `web_workers`."""

    hash_queue: int = Field(16, ge=0, le=1024)
    """Logins of one process that may wait for their turn to be hashed; the next is answered 503."""

    argon2_time_cost: int = Field(2, ge=1, le=64)
    """argon2id: passes. Raise it and passwords are hashed anew as their owners log in."""

    argon2_memory_kib: int = Field(19456, ge=8, le=4_194_304)
    """argon2id: memory of one hash in KiB."""

    password_min: int = Field(12, ge=8, le=64)
    """Shortest password that is taken, in code points."""

    password_max: int = Field(256, ge=64, le=4096)
    """Longest password that is taken, in code points."""

    login_pair_limit: int = Field(10, ge=1)
    """Failed logins in 15 minutes for one account from one address, before both together must wait."""

    login_address_limit: int = Field(100, ge=1)
    """Failed logins in an hour from one address."""

    login_account_limit: int = Field(30, ge=1)
    """Failed logins in an hour for one account; past it, only devices that never logged in to it must wait."""

    register_address_limit: int = Field(1000, ge=1)
    """Registrations in an hour from one address."""

    mail_limit: int = Field(5, ge=1)
    """Mails in an hour that strangers can have sent to one recipient; the next are not sent, and nobody is told so."""

    delete_after: int = Field(14 * DAY, ge=0)
    """An account whose owner deletes it goes after this time, and until then its owner can take that back."""

    step_up: int = Field(10 * MINUTE, ge=MINUTE)
    """What changes an account (a new email, its deletion) needs a password that was given in this time."""

    job_limit: int = Field(60, ge=2, le=3600)
    """The longest time for one attempt at a job; one that a killed worker had begun is tried again soon after it."""

    worker_processes: int = Field(2, ge=1, le=256)
    """Jobs that one worker does at once, each in a process of its own."""

    idle: int = Field(8 * HOUR, ge=MINUTE)
    """A session ends after this time without use."""

    idle_remember: int = Field(30 * DAY, ge=MINUTE)
    """The same for a login with "remember me"."""

    absolute: int = Field(30 * DAY, ge=MINUTE)
    """A session ends after this time, used or not."""

    absolute_remember: int = Field(90 * DAY, ge=MINUTE)
    """The same for a login with "remember me"."""

    heartbeat: int = Field(15, ge=1, le=60)
    """Seconds between two heartbeats of the bridge on a quiet socket or stream."""

    sessions_per_user: int = Field(0, ge=0)
    """Sessions that a user may have at once: a login beyond them ends the oldest. 0: as many as they like."""

    sockets_per_session: int = Field(32, ge=1)
    """Sockets and streams that one session may hold open in one bridge process."""

    signing_alg: Literal["ES256", "EdDSA", "RS256"] = "ES256"
    """The algorithm of the next key that signs tokens. `EdDSA` is that of Ed25519."""

    key_rotation: int = Field(30 * DAY, ge=5)
    """A new key signs tokens after this time. `authsvc key rotate` does it earlier."""

    jwks_max_age: int = Field(5 * MINUTE, ge=1)
    """How long others may keep our public keys. A new key is published for twice as long before it signs."""

    scopes: Annotated[tuple[str, ...], NoDecode] = ()
    """Scopes of this installation's own services, such as `notes:read,notes:write`, beside those built in."""

    audiences: Annotated[tuple[str, ...], NoDecode] = ()
    """Names or addresses of this installation's own services, for which tokens may be asked."""

    @field_validator("secret_keys", "trusted_origins", "scopes", "audiences", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("secret_keys")
    @classmethod
    def _strong(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            text = key.get_secret_value()
            if len(text) < 32 or len(set(text)) < 10:
                raise ValueError(f"a secret is too short or too simple. {MAKE_A_SECRET}")
            if any(word in text.lower() for word in EXAMPLES):
                raise ValueError(f"a secret looks like an example. {MAKE_A_SECRET}")
        return keys

    @field_validator("public_url")
    @classmethod
    def _one_origin(cls, url: str) -> str:
        return origin_of(url) if url else url

    @field_validator("trusted_origins")
    @classmethod
    def _origins(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(origin_of(url) for url in urls)

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if url:
            redis_url.read(url)
        return url

    @field_validator("broker_url")
    @classmethod
    def _single_server(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and urlsplit(url.get_secret_value()).scheme not in redis_url.SINGLE:
            raise ValueError("must be a single server: redis://, rediss:// or unix:///path")
        return url

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, url: SecretStr) -> SecretStr:
        parts = urlsplit(url.get_secret_value())
        if parts.geturl() and (parts.scheme not in ("smtp", "smtps") or not parts.hostname):
            raise ValueError("must be smtp://host:port or smtps://host:port")
        return url

    @field_validator("mail_from")
    @classmethod
    def _one_sender(cls, sender: str) -> str:
        if sender and ("@" not in parseaddr(sender)[1] or not sender.isprintable()):
            raise ValueError("must be an address, or a name and an address such as Example <login@example.org>")
        return sender

    @model_validator(mode="after")
    def _celery_needs_one_server(self) -> Self:
        if self.redis_url and not self.broker_url.get_secret_value():
            where = redis_url.read(self.redis_url)
            if where.cluster or where.sentinels:  # Celery takes a Cluster for a single server, and loses half of it
                raise ValueError("AUTHSVC_REDIS_URL is a set of servers: name one for the queues in AUTHSVC_BROKER_URL")
        return self

    @model_validator(mode="after")
    def _cookie_needs_https(self) -> Self:
        if self.public_url.startswith("http://") and self.cookie_secure and not _is_loopback(self.public_url):
            raise ValueError("AUTHSVC_PUBLIC_URL is plain http: put TLS in front, or set AUTHSVC_COOKIE_SECURE=false")
        return self

    @classmethod
    def read(cls, **given: object) -> "Settings":
        """The settings of this process. Raises Misconfigured with a sentence that names the variable."""
        try:
            settings = cls(**given)  # type: ignore[arg-type]  # pydantic checks them
        except ValidationError as error:
            raise Misconfigured(_in_words(error)) from None
        if settings.secret_keys:
            return settings
        kept = settings.instance / SECRET_FILE
        try:
            secrets = kept.read_text() if kept.exists() else ""
        except OSError as error:
            raise Misconfigured(f"Cannot read {kept}: {error.strerror}.") from None
        return cls.read(**given, secret_keys=secrets) if secrets.strip() else settings

    def for_service(self) -> Self:
        """These settings, if a service that faces the network may start with them. Raises Misconfigured."""
        if not self.public_url:
            raise Misconfigured("Set AUTHSVC_PUBLIC_URL to the address at which browsers find the service.")
        return self.for_storage()

    def for_storage(self) -> Self:
        """These settings, if they are enough to work on the installation's data. Raises Misconfigured."""
        if not self.secret_keys:
            raise Misconfigured(f"Set AUTHSVC_SECRET_KEYS (or start `authsvc run` once). {MAKE_A_SECRET}")
        return self

    @property
    def keys(self) -> tuple[bytes, ...]:
        return tuple(key.get_secret_value().encode() for key in self.secret_keys)

    @property
    def sql_url(self) -> str:
        return self.database_url or f"sqlite:///{self.instance.absolute() / 'authsvc.sqlite3'}"

    @property
    def hot_url(self) -> str:
        return self.redis_url or f"unix://?path={quote(str(self.valkey_socket))}"  # the form that takes a relative path

    @property
    def celery_url(self) -> str:
        """The broker as Celery spells it."""
        url = self.broker_url.get_secret_value() or self.hot_url
        parts = urlsplit(url)
        if parts.scheme != "unix":
            return url
        query = parse_qs(parts.query)
        path = query.get("path", [parts.path])[0]
        return f"redis+socket://{Path(path).absolute()}?virtual_host={query.get('db', ['0'])[0]}"

    @property
    def sender(self) -> str:
        host = urlsplit(self.public_url).hostname or ""
        return self.mail_from or f"no-reply@{f'[IPv6:{host}]' if ':' in host else host}"  # RFC 5321, 4.1.3

    @property
    def valkey_socket(self) -> Path:
        """The shorter way there: a socket's path must stay under 108 bytes."""
        path = self.instance.absolute() / "valkey.sock"
        return min(path, Path(os.path.relpath(path)), key=lambda p: len(os.fsencode(p)))

    @cached_property
    def origins(self) -> frozenset[str]:
        """The origins that may write, and open sockets, with our cookie."""
        return frozenset((self.public_url, *self.trusted_origins))

    @property
    def cookie_name(self) -> str:
        return "__Host-session" if self.cookie_secure else "session"

    @property
    def device_cookie_name(self) -> str:
        return "__Host-device" if self.cookie_secure else "device"

    @property
    def hashers(self) -> int:
        return self.hash_workers or max(1, (os.cpu_count() or 1) // self.web_workers)

    def lifetimes(self, *, remember: bool) -> tuple[int, int]:
        """Idle and absolute time-out of a session in seconds."""
        return (self.idle_remember, self.absolute_remember) if remember else (self.idle, self.absolute)


def origin_of(url: str) -> str:
    """The origin of a URL that has nothing but one; lower case, no slash at its end. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError("must be an origin such as https://login.example.org")
    if parts.path not in ("", "/"):
        raise ValueError("must be an origin, without a path")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, default) else "")


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def _in_words(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        name = "".join(f"AUTHSVC_{str(part).upper()}: " for part in problem["loc"][:1])
        lines.append(f"{name}{problem['msg'].removeprefix('Value error, ')}.".replace("..", "."))
    return " ".join(lines)
