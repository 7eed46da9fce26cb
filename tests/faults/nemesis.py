"""A nemesis run: clients at work, a seeded schedule of faults, a history, and what the checker finds in it.

python -m tests.faults.nemesis --seconds 600 --seed 7 [--stock]
"""

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from authsvc.domain import links
from authsvc.services import Services
from tests.faults.checker import CLOCKS, L, violations
from tests.faults.clients import PASSWORD, STOCK, WEIGHTS, Book, Client, Field
from tests.faults.watchers import Watcher
from tests.faults.world import World
from tests.servers import wait_for

CLIENTS, WATCHERS, USERS = 8, 10, 6


class Result(NamedTuple):
    broken: list[str]
    faults: Counter[str]
    operations: Counter[str]  # "op result" -> how many
    history: Path


def run(seconds: float, seed: int, folder: Path, *, stock: bool = False) -> Result:
    """Raises whatever a fault of the machine, and not of what is tested, brings."""
    history = folder / "history.jsonl"
    world = World(folder, seed, stock=stock)
    with world.stack, history.open("w") as file:
        services = world.start()
        for port in world.webs:
            wait_for(lambda port=port: _alive(port), seconds=30, pause=0.1)
        book = Book(file)
        emails = [f"anna{number}@example.org" for number in range(USERS)]
        users = {email: _user(services, email) for email in emails}
        field = Field(book, list(world.webs), users, lambda: _token(services))
        clients = [Client(field, f"{seed} {number}", STOCK if stock else WEIGHTS) for number in range(CLIENTS)]
        watchers = [Watcher(field, world.bridge_port, f"{seed} w{number}") for number in range(WATCHERS)]
        everybody = clients if stock else [*clients, *watchers]
        for each in everybody:
            each.start()
        errors = _torment(world, book, time.monotonic() + seconds)
        time.sleep(0 if stock else L + CLOCKS)
        field.stop.set()
        for each in everybody:
            each.join()
        _read_all(field, clients[0])
        if errors:
            raise errors[0]
    return Result(violations(book.lines), world.faults, _operations(book), history)


def _operations(book: Book) -> Counter[str]:
    results = {line["id"]: line["type"] for line in book.lines if line["type"] in ("ok", "fail", "unknown")}
    operations = Counter(
        f"{line['op']} {results.get(line['id'], 'unknown')}" for line in book.lines if line["type"] == "invoke"
    )
    told = Counter(f"connection {line['why']}" for line in book.lines if line["type"] == "closed")
    return operations + told + Counter(event=sum(line["type"] == "event" for line in book.lines))


def _torment(world: World, book: Book, until: float) -> list[Exception]:
    """Faults of Redis, and at the same time faults of the rest: all of them in some order, then in another."""
    errors: list[Exception] = []

    def one_after_another(faults: dict[str, Callable[[], None]], chance: random.Random) -> None:
        names: list[str] = []
        while time.monotonic() < until and not errors:
            names = names or chance.sample(list(faults), len(faults))
            name, start = names.pop(), time.time()
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
