"""A nemesis run: clients at work, a seeded schedule of faults, a history, and what the checker finds in it.

python -m tests.faults.nemesis --seconds 600 --seed 7 [--stock]
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from authsvc import migrations
from authsvc.core.settings import Settings
from authsvc.domain import links
from authsvc.services import Services, build
from tests.conftest import make_settings
from tests.faults.checker import CLOCKS, L, violations
from tests.faults.clients import PASSWORD, STOCK, WEIGHTS, Book, Client, Field
from tests.faults.servers import CUT, ON, SILENT, Link, Process, Sql, Store, web
from tests.redis_sets import ports
from tests.servers import wait_for

CLIENTS, USERS, WEBS = 8, 6, 2


class Result(NamedTuple):
    broken: list[str]
    faults: Counter[str]
    operations: Counter[str]  # "op result" -> how many
    history: Path


class Run:
    """Two web processes and a worker on a Valkey and a PostgreSQL, each with a line of its own to both."""

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
        self.processes: list[Process] = []
        self.ports: list[int] = []
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
        for number in range(WEBS):
            self.ports += ports(1)
            self._add(web(self.ports[-1], self._environment(), self.folder / f"web-{number}.log"))
        if not self.stock:
            worker = [str(Path(sys.executable).with_name("authsvc")), "worker"]
            self._add(Process(worker, self._environment(), self.folder / "worker.log"))
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

    def _add(self, process: Process) -> None:
        process.start()
        self.stack.callback(process.kill)
        self.processes.append(process)

    # -- faults: each begins, lasts, and is over when its method returns -----------------------------------------------

    def redis_faults(self) -> dict[str, Callable[[], None]]:
        return {
            "redis wiped": lambda: self.store.execute("FLUSHALL"),
            "redis killed": self.redis_killed,
            "redis stopped": self.redis_stopped,
            "redis silent on the line": lambda: self._lines(self.redis_links, SILENT),
            "redis cut off from one process": lambda: self._lines([self.chance.choice(self.redis_links)], CUT),
            "redis restored from an old file": self.redis_restored,
            "redis failed over with lost writes": self.redis_failed_over,
            "redis full": self.redis_full,
        }

    def other_faults(self) -> dict[str, Callable[[], None]]:
        faults = {
            "web killed": lambda: self.killed(self.chance.choice(self.processes[:WEBS])),
            "web paused": self.paused,
        }
        if self.sql:
            faults |= {
                "worker killed": lambda: self.killed(self.processes[WEBS]),
                "sql killed and restarted": self.sql_killed,
                "sql silent on the line": lambda: self._lines(self.sql_links, SILENT),
                "sql cut off from one process": lambda: self._lines([self.chance.choice(self.sql_links)], CUT),
            }
        return faults

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

    def paused(self) -> None:
        process = self.chance.choice(self.processes[:WEBS])
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


def run(seconds: float, seed: int, folder: Path, *, stock: bool = False) -> Result:
    """Raises whatever a fault of the machine, and not of what is tested, brings."""
    history = folder / "history.jsonl"
    world = Run(folder, seed, stock=stock)
    with world.stack, history.open("w") as file:
        services = world.start()
        for port in world.ports:
            wait_for(lambda port=port: _alive(port), seconds=30, pause=0.1)
        book = Book(file)
        emails = [f"anna{number}@example.org" for number in range(USERS)]
        users = {email: _user(services, email) for email in emails}
        field = Field(book, world.ports, users, lambda: _token(services))
        clients = [Client(field, f"{seed} {number}", STOCK if stock else WEIGHTS) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        errors = _torment(world, book, time.monotonic() + seconds)
        time.sleep(0 if stock else L + CLOCKS)
        field.stop.set()
        for client in clients:
            client.join()
        _read_all(field, clients[0])
        if errors:
            raise errors[0]
    results = {line["id"]: line["type"] for line in book.lines if line["type"] in ("ok", "fail", "unknown")}
    operations = Counter(
        f"{line['op']} {results.get(line['id'], 'unknown')}" for line in book.lines if line["type"] == "invoke"
    )
    return Result(violations(book.lines), world.faults, operations, history)


def _torment(world: Run, book: Book, until: float) -> list[Exception]:
    """Faults of Redis, and at the same time faults of the rest."""
    errors: list[Exception] = []

    def one_after_another(faults: dict[str, Callable[[], None]], chance: random.Random) -> None:
        while time.monotonic() < until and not errors:
            name = chance.choice(list(faults))
            start = time.time()
            try:
                faults[name]()
            except Exception as error:  # noqa: BLE001 - raised by `run`, when all is stopped
                errors.append(error)
            on = name.split()[0]
            book.write(type="fault", name=name, on=on if on in ("redis", "sql") else "process",
                       **{"from": start, "until": time.time()})  # fmt: skip
            world.faults[name] += 1
            time.sleep(chance.uniform(0, 1.5))

    threads = [
        threading.Thread(target=one_after_another, args=(faults, random.Random(world.chance.random())))
        for faults in (world.redis_faults(), world.other_faults())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def _read_all(field: Field, client: Client) -> None:
    """All is well again: everything that was kept can be read."""
    for session in field.sessions:
        wait_for(lambda session=session: client.read(session, last=True), seconds=30, pause=0.2)


def _user(services: Services | None, email: str) -> str:
    if services is None:
        return email.partition("@")[0]
    return services.accounts.create(email, services.hasher.hash(PASSWORD)).id


def _token(services: Services | None) -> str:
    """One that resets the password of somebody who does nothing else."""
    assert services
    user = _user(services, f"spender{time.time_ns()}@example.org")
    with services.db.transaction() as sql:
        flow = links.add(sql, links.RESET, user, time.time())
    return links.token(services.keyring, flow, links.RESET)


def _alive(port: int) -> bool:
    with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
        return bool(answer.status == 200)


def say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def main() -> int:
    given = argparse.ArgumentParser(prog="make nemesis")
    given.add_argument("--seconds", type=float, default=60)
    given.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given.add_argument("--stock", action="store_true", help="torment a stock Flask-Session: it must be caught")
    asked = given.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="nemesis-"))
    say(f"seed {asked.seed}, {asked.seconds:.0f} s; history and logs in {folder}")
    result = run(asked.seconds, asked.seed, folder, stock=asked.stock)
    for title, counted in (("faults", result.faults), ("operations", result.operations)):
        say(f"{title}: " + ", ".join(f"{name} {times}" for name, times in sorted(counted.items())))
    for words in result.broken[:50]:
        say(words)
    say(f"{len(result.broken)} broken promises" if result.broken else "no promise was broken")
    if not result.broken:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if result.broken else 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
