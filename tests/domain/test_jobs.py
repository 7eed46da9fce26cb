"""Jobs: written with their cause or not at all, handed on once, tried until they are done or dead."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count

import pytest
from sqlalchemy import func, select

from authsvc.core.errors import NotFound
from authsvc.core.settings import HOUR
from authsvc.domain import jobs
from authsvc.domain.jobs import BATCH, EVERY, EXPORT, KINDS, LOST, MAIL, Job, Kind
from authsvc.models import Job as Row
from authsvc.services import Services
from tests.servers import Valkey


class CrashError(Exception):
    """The process dies here."""


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(services: Services, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(services.jobs, "_clock", clock)
    return clock


def write(services: Services, number: int = 1, kind: str = MAIL, user: str | None = None) -> list[str]:
    with services.db.transaction() as sql:
        return [jobs.add(sql, kind, services.jobs._clock(), user=user) for _ in range(number)]


def begun(services: Services, job_id: str, message: str = "message") -> Job:
    job = services.jobs.begin(job_id, message)
    assert job
    return job


@pytest.mark.promise("L4")
def test_a_job_is_written_with_its_cause_or_not_at_all(services: Services) -> None:
    def roll_back() -> None:
        with services.db.transaction() as sql:
            jobs.add(sql, MAIL, 1)
            raise CrashError

    with pytest.raises(CrashError):
        roll_back()
    assert services.jobs.claim() == []


@pytest.mark.promise("L4")
def test_many_relays_hand_each_job_on_once(services: Services, make_services: Callable[..., Services]) -> None:
    written = write(services, 3 * BATCH)
    relays = [make_services() for _ in range(4)]

    def all_of(relay: Services) -> list[str]:
        return [job_id for _ in range(8) for job_id, _ in relay.jobs.claim(50)]

    with ThreadPoolExecutor(len(relays)) as pool:
        claimed = list(chain.from_iterable(pool.map(all_of, relays)))
    assert sorted(claimed) == sorted(written)


@pytest.mark.promise("L4")
def test_a_job_whose_message_was_lost_is_handed_on_again(services: Services, clock: Clock) -> None:
    [job] = write(services)
    assert services.jobs.claim() == [(job, MAIL)]
    assert services.jobs.claim() == []
    clock.pass_(services.settings.job_limit + jobs.SLACK)
    assert services.jobs.claim() == [(job, MAIL)]


def test_a_job_that_could_not_be_handed_on_is_due_at_once(services: Services) -> None:
    [job] = write(services)
    services.jobs.claim()
    services.jobs.give_back([job])
    assert services.jobs.claim() == [(job, MAIL)]


def test_two_messages_for_one_job_begin_it_once(services: Services, make_services: Callable[..., Services]) -> None:
    [job] = write(services)
    workers = [make_services() for _ in range(4)]
    with ThreadPoolExecutor(len(workers)) as pool:
        started = list(pool.map(lambda worker: worker.jobs.begin(job, str(id(worker))), workers))
    assert len([each for each in started if each]) == 1


def test_what_is_over_is_not_begun_again(services: Services) -> None:
    done, dead = write(services, 2)
    services.jobs.done(done)
    services.jobs.bury(dead, "It is hopeless.")
    assert services.jobs.begin(done, "late") is services.jobs.begin(dead, "late") is None
    assert services.jobs.begin("no such job", "late") is None


@pytest.mark.promise("L4")
def test_a_job_whose_worker_was_killed_is_tried_again_soon(services: Services, clock: Clock) -> None:
    [job] = write(services)
    begun(services, job, "first")
    assert services.jobs.begin(job, "first") is None  # the broker delivers again what nobody has acknowledged
    assert services.jobs.get(job).error == LOST
    clock.pass_(30)
    assert services.jobs.claim() == [(job, MAIL)]
    assert begun(services, job, "second").attempts == 2


@pytest.mark.promise("L4")
def test_a_job_whose_worker_and_message_are_both_lost_is_tried_again(services: Services, clock: Clock) -> None:
    [job] = write(services)
    begun(services, job, "first")
    clock.pass_(services.settings.job_limit + jobs.SLACK)
    assert services.jobs.claim() == [(job, MAIL)]
    assert begun(services, job, "second").attempts == 2


@pytest.mark.promise("L5")
def test_poison_that_kills_its_worker_ends_as_a_dead_letter(services: Services, clock: Clock) -> None:
    [job] = write(services, kind=EXPORT)
    messages = map(str, count())
    while services.jobs.get(job).dead is None:
        clock.pass_(services.settings.job_limit + jobs.SLACK)
        services.jobs.begin(job, next(messages))  # and then it is killed
    assert services.jobs.get(job).attempts == KINDS[EXPORT].tries + 1
    assert services.jobs.get(job).error == LOST


@pytest.mark.promise("L5")
def test_a_job_that_fails_every_time_ends_as_a_dead_letter_that_can_be_sent_again(
    services: Services, clock: Clock
) -> None:
    [job] = write(services, kind=EXPORT)
    for _ in range(KINDS[EXPORT].tries):
        services.jobs.failed(begun(services, job), "The disk is full.")
        clock.pass_(2 * HOUR)
    [dead] = services.jobs.listed(dead=True)
    assert (dead.id, dead.error, dead.state(clock())) == (job, "The disk is full.", "failed")
    assert services.jobs.claim() == services.jobs.listed(dead=False) == []
    services.jobs.retry(job)
    assert services.jobs.claim() == [(job, EXPORT)]
    assert begun(services, job).attempts == 1


def test_an_open_job_is_neither_retried_nor_dropped(services: Services) -> None:
    [job] = write(services)
    for act in (services.jobs.retry, services.jobs.drop):
        with pytest.raises(NotFound):
            act(job)
    services.jobs.bury(job, "It is hopeless.")
    services.jobs.drop(job)
    assert services.jobs.listed(dead=True) == []


@pytest.mark.promise("L5")
def test_a_failed_job_waits_longer_each_time_and_others_go_on(services: Services, clock: Clock) -> None:
    bad, good = write(services, 2)
    services.jobs.failed(begun(services, bad), "The mail server says 451.")
    assert services.jobs.claim() == [(good, MAIL)]
    first = services.jobs.get(bad).due - clock()
    clock.pass_(first)
    services.jobs.failed(begun(services, bad), "The mail server says 451.")
    second = services.jobs.get(bad).due - clock()
    assert 7 <= first <= 14
    assert 15 <= second <= 27


def test_pauses_double_up_to_an_hour_and_are_spread() -> None:
    kind = Kind("mail", 32, 10)
    for attempts, middle in ((1, 10), (2, 20), (5, 160), (9, 2560), (10, HOUR), (32, HOUR)):
        pauses = {jobs.pause(kind, attempts, random.random()) for _ in range(200)}
        assert middle * 0.75 <= min(pauses) < max(pauses) <= middle * 1.25 + 1


def test_a_mail_is_tried_for_about_a_day() -> None:
    kind = KINDS[MAIL]
    assert 20 <= sum(jobs.pause(kind, attempt, 0.5) for attempt in range(1, kind.tries)) / HOUR <= 28


def test_of_many_relays_one_writes_a_periodic_job(services: Services, make_services: Callable[..., Services]) -> None:
    relays = [make_services() for _ in range(4)]
    with ThreadPoolExecutor(len(relays)) as pool:
        turns = list(chain.from_iterable(pool.map(lambda relay: relay.jobs.schedule(), relays)))
    assert sorted(turns) == sorted(EVERY)
    with services.db.reading() as sql:
        assert sql.scalar(select(func.count()).select_from(Row)) == len(EVERY)


def test_a_periodic_job_comes_back_and_never_twice_at_once(services: Services, clock: Clock) -> None:
    assert services.jobs.schedule() == list(EVERY)
    assert services.jobs.schedule() == []
    clock.pass_(max(EVERY.values()))
    assert services.jobs.schedule() == list(EVERY)
    [(job, kind)] = services.jobs.claim()  # the first is still open, so there was no second
    services.jobs.done(job)
    clock.pass_(max(EVERY.values()))
    services.jobs.schedule()
    [(next_, same)] = services.jobs.claim()
    assert next_ != job
    assert kind == same


def test_a_task_that_was_cancelled_stops_at_its_next_step(services: Services) -> None:
    [job] = write(services, kind=EXPORT, user="anna")
    begun(services, job)
    assert services.jobs.progressed(job, 25)
    services.jobs.cancel(job, "anna")
    assert not services.jobs.progressed(job, 50)
    with pytest.raises(NotFound):
        services.jobs.get(job)


def test_a_long_task_keeps_its_lease_as_long_as_it_comes_forward(services: Services, clock: Clock) -> None:
    [job] = write(services, kind=EXPORT, user="anna")
    begun(services, job, "first")
    for percent in (20, 40, 60):
        clock.pass_(services.settings.job_limit - 1)
        assert services.jobs.progressed(job, percent)
    assert services.jobs.begin(job, "second") is None
    assert services.jobs.get(job).state(clock()) == "running"


def test_only_tasks_are_shown_to_their_user(services: Services) -> None:
    [mail], [export] = write(services, kind=MAIL, user="anna"), write(services, kind=EXPORT, user="anna")
    assert services.jobs.of_user(export, "anna").state(0) == "queued"
    for job, user in ((mail, "anna"), (export, "emma"), ("no such job", "anna")):
        with pytest.raises(NotFound):
            services.jobs.of_user(job, user)


def test_the_age_of_the_oldest_job_that_nobody_has_begun_is_known_by_queue(services: Services, clock: Clock) -> None:
    assert services.jobs.waiting() == {}
    [export] = write(services, kind=EXPORT)
    clock.pass_(60)
    write(services)
    clock.pass_(1)
    assert services.jobs.waiting() == {"mail": 1, "default": 61}
    begun(services, export)
    assert services.jobs.waiting() == {"mail": 1}


def test_workers_are_heard_of_until_they_sign_off(services: Services, clock: Clock) -> None:
    services.jobs.alive("one")
    services.jobs.alive("two")
    clock.pass_(7)
    services.jobs.alive("two")
    assert services.jobs.workers() == {"one": 7, "two": 0}
    services.jobs.signed_off("two")
    assert services.jobs.workers() == {"one": 7}


def test_a_job_is_written_also_while_redis_is_away(services: Services, valkey: Valkey) -> None:
    valkey.kill()
    [job] = write(services)
    services.jobs.wake()
    assert services.jobs.claim() == [(job, MAIL)]
