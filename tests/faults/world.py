"""What a nemesis run torments: processes of authsvc on a Valkey and a PostgreSQL, and the faults that befall them."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from authsvc import migrations
from authsvc.core.settings import Settings
from authsvc.services import Services, build
from tests.conftest import make_settings
from tests.faults.servers import CUT, ON, SILENT, Link, Process, Sql, Store, authsvc, web
from tests.redis_sets import ports

WEBS = 2


class World:
    """Two web processes, a worker and a bridge on a Valkey and a PostgreSQL, each with a line of its own to both."""

    def __init__(self, folder: Path, seed: int, *, stock: bool) -> None:
        self.folder, self.stock = folder, stock
        self.chance = random.Random(f"{seed} faults")
        self.stack = ExitStack()
        self.store = Store(folder)
        self.stack.callback(self.store.kill)
        self.sql: Sql | None = None
        if not stock:
            self.sql = Sql()
            self.stack.callback(self.sql.close)
        self.redis_links: list[Link] = []
        self.sql_links: list[Link] = []
        self.webs: dict[int, Process] = {}  # by port
        self.bridge_port = 0
        self.faults: Counter[str] = Counter()

    def settings(self, redis_port: int, sql_port: int) -> Settings:
        database = f"postgresql://authsvc@127.0.0.1:{sql_port}/postgres" if self.sql else "sqlite://"
        return make_settings(
            secret_keys="nemesis-" + "0123456789abcdefghijklmnopqrstuvwxyz"[::-1], instance=self.folder,
            redis_url=f"redis://127.0.0.1:{redis_port}", database_url=database, login_address_limit=10**6,
            smtp_url="smtp://127.0.0.1:1",
        )  # fmt: skip

    def start(self) -> Services | None:
        services = None
        if self.sql:
            services = build(self.settings(self.store.port, self.sql.port))
            self.stack.callback(services.close)
            migrations.upgrade(services.db)
        for port in ports(WEBS):
            self.webs[port] = self._started(web(port, self._environment(), self.folder / f"web-{port}.log"))
        if not self.stock:
            self.worker = self._started(authsvc("worker", self._environment(), self.folder))
            (self.bridge_port,) = ports(1)
            own = self._environment() | {"AUTHSVC_PORT": str(self.bridge_port)}
            self.bridge = self._started(authsvc("bridge", own, self.folder))
        return services

    def _environment(self) -> dict[str, str]:
        """Of a process that gets its own lines to the store and to SQL."""
        link = Link(("127.0.0.1", self.store.port))
        self.redis_links.append(link)
        self.stack.callback(link.close)
        sql_port = 0
        if self.sql:
            self.sql_links.append(Link(("127.0.0.1", self.sql.port)))
            self.stack.callback(self.sql_links[-1].close)
            sql_port = self.sql_links[-1].port
        given = self.settings(link.port, sql_port)
        own = {
            "AUTHSVC_SECRET_KEYS": given.secret_keys[0].get_secret_value(), "AUTHSVC_INSTANCE": str(self.folder),
            "AUTHSVC_REDIS_URL": given.redis_url, "AUTHSVC_DATABASE_URL": given.database_url,
            "AUTHSVC_PUBLIC_URL": given.public_url, "AUTHSVC_COOKIE_SECURE": "false",
            "AUTHSVC_ARGON2_TIME_COST": "1", "AUTHSVC_ARGON2_MEMORY_KIB": "8",
            "AUTHSVC_LOGIN_ADDRESS_LIMIT": str(10**6), "AUTHSVC_SMTP_URL": "smtp://127.0.0.1:1",
        }  # fmt: skip
        return {**os.environ, **own, **({"NEMESIS_STOCK": "1"} if self.stock else {})}

    def _started(self, process: Process) -> Process:
        process.start()
        self.stack.callback(process.kill)
        return process

    # -- faults: each begins, lasts, and is over when its method returns -----------------------------------------------

    def redis_faults(self) -> dict[str, Callable[[], None]]:
        faults = {
            "redis wiped": lambda: self.store.execute("FLUSHALL"),
            "redis killed": self.redis_killed,
            "redis stopped": self.redis_stopped,
            "redis silent on the line": lambda: self._lines(self.redis_links, SILENT),
            "redis cut off from one process": lambda: self._lines([self.chance.choice(self.redis_links)], CUT),
            "redis restored from an old file": self.redis_restored,
            "redis failed over with lost writes": self.redis_failed_over,
            "redis full": self.redis_full,
        }
        if not self.stock:  # what is published then is lost for it
            faults["redis cut off from the bridge"] = lambda: self._lines(self.redis_links[-1:], CUT)
        return faults

    def other_faults(self) -> dict[str, Callable[[], None]]:
        faults = {
            "web killed": lambda: self.killed(self._web()),
            "web paused": lambda: self.paused(self._web()),
        }
        if self.sql:
            faults |= {
                "worker killed": lambda: self.killed(self.worker),
                "bridge killed": lambda: self.killed(self.bridge),
                "bridge paused": lambda: self.paused(self.bridge),
                "sql killed and restarted": self.sql_killed,
                "sql silent on the line": lambda: self._lines(self.sql_links, SILENT),
                "sql cut off from one process": lambda: self._lines([self.chance.choice(self.sql_links)], CUT),
            }
        return faults

    def _web(self) -> Process:
        return self.chance.choice(list(self.webs.values()))

    def redis_killed(self) -> None:
        self.store.kill()
        self._last()
        self.store.start()

    def redis_stopped(self) -> None:
        self.store.signal(signal.SIGSTOP)
        self._last()
        self.store.signal(signal.SIGCONT)

    def redis_restored(self) -> None:
        old = self.store.copy(self.folder / f"old-{self.chance.randrange(10**9)}")
        self._last()
        self.store.kill()
        self.store.start(keeping=old)

    def redis_failed_over(self) -> None:
        self.store.fail_over(self._length())
        for link in self.redis_links:
            link.server = ("127.0.0.1", self.store.port)

    def redis_full(self) -> None:
        self.store.execute("SET", "ballast", b"x" * 9_000_000)
        self.store.execute("CONFIG", "SET", "maxmemory", "8mb")
        self._last()
        self.store.execute("UNLINK", "ballast")
        self.store.execute("CONFIG", "SET", "maxmemory", "0")

    def sql_killed(self) -> None:
        assert self.sql
        self.sql.kill()
        self._last()
        self.sql.start()

    def killed(self, process: Process) -> None:
        process.kill()
        process.start()
        self._last()

    def paused(self, process: Process) -> None:
        process.signal(signal.SIGSTOP)
        self._last()
        process.signal(signal.SIGCONT)

    def _lines(self, of: list[Link], state: str) -> None:
        for link in of:
            link.set(state)
        self._last()
        for link in of:
            link.set(ON)

    def _length(self) -> float:
        return self.chance.choice((0.05, 0.3, 1, 2))

    def _last(self) -> None:
        time.sleep(self._length())
