"""Where Redis is: one server, the master that Sentinels name, or a Cluster; read from one URL.

    redis://user:password@host:port/0         rediss:// with TLS         unix:///path
    redis+sentinel://user:password@host:port,host:port/master-name/0?sentinel_password=...       rediss+sentinel://
    redis+cluster://user:password@host:port,host:port                                            rediss+cluster://

Credentials are those of the data servers. What follows `?` is handed to redis-py (`ssl_ca_certs`, `ssl_cert_reqs` ...).
"""

from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

SINGLE = ("redis", "rediss", "unix")
SENTINEL_PORT, SERVER_PORT = 26379, 6379


class RedisUrl(NamedTuple):
    """`servers` are URLs for redis-py: of the one server, of some of a Cluster's, or of the master with an address that
    is to be replaced by the one that `sentinels` (URLs too) have for the name `master`."""

    servers: tuple[str, ...]
    cluster: bool = False
    sentinels: tuple[str, ...] = ()
    master: str = ""


def read(url: str) -> RedisUrl:
    """Raises ValueError with a sentence that does not repeat the URL: it may hold a password."""
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    if parts.scheme in SINGLE:
        return RedisUrl((url,))
    if scheme not in ("redis", "rediss") or kind not in ("sentinel", "cluster"):
        raise ValueError(
            "must begin with redis://, rediss:// or unix://, or with redis+sentinel:// or redis+cluster:// "
            "(rediss+... with TLS)"
        )
    credentials, at, hosts = parts.netloc.rpartition("@")
    addresses = [_address(host, SENTINEL_PORT if kind == "sentinel" else SERVER_PORT) for host in hosts.split(",")]
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if kind == "cluster":
        if parts.path.strip("/") not in ("", "0"):
            raise ValueError("a Cluster has the database 0 and no other")
        return RedisUrl(tuple(_url(scheme, credentials + at, each, "", options) for each in addresses), cluster=True)
    master, _, database = parts.path.strip("/").partition("/")
    if not master:
        raise ValueError("must name the master after the Sentinels: redis+sentinel://host:26379/master-name")
    name, secret = options.pop("sentinel_username", ""), options.pop("sentinel_password", "")
    known = f"{quote(name, safe='')}:{quote(secret, safe='')}@" if name or secret else ""
    return RedisUrl(
        (_url(scheme, credentials + at, addresses[0], f"/{database}", options),),
        sentinels=tuple(_url(scheme, known, each, "", options) for each in addresses),
        master=master,
    )


def at(url: str, host: str, port: int) -> str:
    """The same URL with another address in it, as a Cluster names its servers."""
    parts = urlsplit(url)
    credentials, at_, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{credentials}{at_}{f'[{host}]' if ':' in host else host}:{port}").geturl()


def _address(text: str, port: int) -> str:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or port
    except ValueError:
        host = None
    if not host:
        raise ValueError("must list its servers as host:port,host:port")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _url(scheme: str, credentials: str, address: str, path: str, options: dict[str, str]) -> str:
    query = f"?{urlencode(options)}" if options else ""
    return f"{scheme}://{credentials}{address}{path}{query}"
