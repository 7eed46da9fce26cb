"""A thousand registrations while everything is killed and the mail server is difficult; and the same with a stock
Celery, which loses some."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from celery import Celery

from tests.jobs.stock_celery import mail
from tests.servers import Valkey, wait_for
from tests.smtp import CUT, DATA, RCPT, STALL, SmtpServer
from tests.system.stack import PARTS, Run, environment, only, parts_of, processes_of

PEOPLE = 1000
BAD = 20  # of them have an address that does not exist
PASSWORD = "correct horse battery staple"


class Difficult:
    """Every fifth recipient is greylisted; for some others the server stalls, is full, or hangs up after it has taken
    the mail. Once each: what fails again and again waits longer and longer (tests/domain/test_jobs.py)."""

    FATES = ("451 4.7.1 Greylisted, come back later", STALL, CUT, "452 4.3.1 Out of space", None)

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._left: dict[str, str | None] = {}  # what a recipient still has to go through

    def __call__(self, step: str, to: str) -> str | None:
        if step == RCPT and to.startswith("nobody"):
            return "550 5.1.1 No such mailbox"
        if step == RCPT and to not in self._left:
            (self._left[to],) = self._chance.choices(self.FATES, (20, 1, 1, 1, 77))
        fate = self._left.get(to)
        if fate and step == (RCPT if fate.startswith("451") else DATA):
            self._left[to] = None
            return fate
        return None


def address(number: int) -> str:
    return f"{'nobody' if number < BAD else 'emma'}{number}@example.org"


def register(run: Run, number: int) -> None:
    """Again until it is answered: who gets no answer asks again."""
    body = {"email": address(number), "password": PASSWORD}
    while True:
        with suppress(httpx.TransportError):
            answer = httpx.post(f"{run.url}/api/register", json=body, trust_env=False, timeout=10)
            if answer.status_code == 202:
                return
        time.sleep(0.1)


@contextmanager
def killing(run: Run, seed: int) -> Iterator[Counter[str]]:
    """Something is killed about every second, by turns: the worker, a process of its jobs, Valkey, and everything with
    the web."""
    chance, stop, killed = random.Random(seed), threading.Event(), Counter[str]()
    acts = {"worker": kill_worker, "job": kill_job, "Valkey": kill_valkey, "web": kill_web}

    def kill() -> None:
        turn = list(acts)
        while not stop.wait(chance.uniform(0.6, 1.4)):
            name = turn[sum(killed.values()) % len(turn)]
            with suppress(AssertionError, ProcessLookupError):  # it is just about to be started again
                acts[name](run)
                killed[name] += 1

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


def kill_worker(run: Run) -> None:
    os.kill(only(PARTS[1], run.instance), signal.SIGKILL)


def kill_job(run: Run) -> None:
    leaders = parts_of(run.instance)
    jobs = [pid for pid, command in processes_of(run.instance).items() if PARTS[1] in command and pid not in leaders]
    assert jobs
    os.kill(jobs[0], signal.SIGKILL)


def kill_valkey(run: Run) -> None:
    os.kill(only(PARTS[2], run.instance), signal.SIGKILL)


def kill_web(run: Run) -> None:
    run.server.signal(signal.SIGKILL)
    run.server.process.wait()
    run.launch()


@pytest.fixture
def run(smtp_server: SmtpServer) -> Iterator[Run]:
    folder = Path(tempfile.mkdtemp(prefix="authsvc-"))
    run = Run(folder, smtp_url=smtp_server.url, job_limit=4, register_address_limit=10**6, mail_limit=100)
    yield run
    sys.stdout.write(run.logs())
    run.end()
    shutil.rmtree(folder)


@pytest.mark.timeout(240)
@pytest.mark.promise("L4")
@pytest.mark.promise("L5")
def test_a_thousand_registrations_among_kills_lose_no_mail(run: Run, smtp_server: SmtpServer) -> None:
    smtp_server.answer = Difficult(seed=3)
    run.start()
    with killing(run, seed=3) as killed, ThreadPoolExecutor(8) as people:
        list(people.map(lambda number: register(run, number), range(PEOPLE)))
        assert set(killed) == {"worker", "job", "Valkey", "web"}

    wait_for(lambda: run.jobs("open") == 0 and run.jobs("dead") >= BAD, seconds=120, pause=0.5)

    mailed = Counter(each.to for each in smtp_server.accepted)
    assert set(mailed) == {address(number) for number in range(BAD, PEOPLE)}
    dead = run.told("job", "list", "--dead")["jobs"]
    assert len(dead) >= BAD
    assert {job["error"] for job in dead} == {"The mail server refused the recipient for good: 550 5.1.1."}
    contents = {(each.id, each.content) for each in smtp_server.accepted}
    assert len(contents) == len(smtp_server.counts)  # each repetition is the same mail
    repeated = sum(smtp_server.counts.values()) - len(smtp_server.counts)
    sys.stdout.write(
        f"killed: {dict(killed)}; mails accepted: {len(smtp_server.accepted)}; of these again: {repeated}\n"
    )


@pytest.mark.promise("L4")
def test_a_stock_celery_loses_what_a_killed_worker_had(valkey: Valkey, smtp_server: SmtpServer, tmp_path: Path) -> None:
    """The negative control: the same kind of kill, acknowledged as Celery does it by default."""
    broker = f"redis+socket://{valkey.url.removeprefix('unix://')}"
    env = {**environment(), "STOCK_BROKER": broker, "STOCK_SMTP_PORT": str(smtp_server.port)}
    stalled = threading.Event()

    def stall(step: str, _to: str) -> str | None:
        if step == DATA and not stalled.is_set():
            stalled.set()
            return STALL
        return None

    smtp_server.answer = stall
    with Celery(broker=broker, set_as_current=False).connection() as connection:
        for number in range(50):
            mail.apply_async((address(BAD + number),), connection=connection)
    with (tmp_path / "stock.log").open("ab") as log:
        command = (
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tests.jobs.stock_celery",
            "worker",
            "-c",
            "1",
            "-l",
            "WARNING",
        )
        worker = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        assert stalled.wait(30)
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        worker = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(lambda: queue_is_empty(valkey) and len(smtp_server.accepted) >= 40, seconds=30)
        finally:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    lost = 50 - len(set(smtp_server.counts))
    assert lost >= 1
    sys.stdout.write(f"lost: {lost} of 50\n")


def queue_is_empty(valkey: Valkey) -> bool:
    with valkey.client() as client:
        return client.llen("celery") == 0
