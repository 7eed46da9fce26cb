"""What is wrong with a part is said in words, with a way to mend it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from authsvc import health
from authsvc.core import events
from authsvc.core.cluster import sync_door
from authsvc.core.events import Fact
from authsvc.core.settings import Settings
from authsvc.domain import jobs
from authsvc.domain.outbox import record
from authsvc.health import Storage, Wrong
from authsvc.models import Job
from authsvc.services import Services
from tests.redis_sets import Cluster, Sentinels
from tests.servers import Valkey, wait_for

MakeServices = Callable[..., Services]


@pytest.fixture
def storage(settings: Settings) -> Iterator[Storage]:
    with closing(Storage(settings)) as opened:
        yield opened


def the_worker(storage: Storage) -> str:
    return health.worker(storage.outbox, storage.jobs)


def a_job_waits(services: Services, seconds: int) -> str:
    with services.db.transaction() as sql:
        return jobs.add(sql, jobs.MAIL, services.store.clock() - seconds, data={"to": "who@example.org"})


def test_a_worker_that_does_its_work_is_well(storage: Storage, services: Services) -> None:
    services.jobs.alive("one")
    a_job_waits(services, health.STUCK - 5)
    assert "alive" in the_worker(storage)


def test_that_there_was_never_a_worker_is_said(storage: Storage) -> None:
    with pytest.raises(Wrong, match=r"No worker was ever heard of.*Start `authsvc worker`"):
        the_worker(storage)


def test_a_worker_that_fell_silent_is_said(storage: Storage, make_services: MakeServices) -> None:
    make_services(later=-health.SILENT - 10).jobs.alive("gone")
    with pytest.raises(Wrong, match=r"No worker was heard of for 2\d s"):
        the_worker(storage)


def test_one_of_two_workers_is_enough(storage: Storage, services: Services, make_services: MakeServices) -> None:
    make_services(later=-health.SILENT - 10).jobs.alive("gone")
    services.jobs.alive("here")
    assert "alive" in the_worker(storage)


def test_a_worker_that_lives_and_has_stopped_consuming_is_said(storage: Storage, services: Services) -> None:
    services.jobs.alive("one")
    a_job_waits(services, health.STUCK + 5)
    with pytest.raises(Wrong, match="alive and has stopped consuming: a job of the queue `mail` has waited 6"):
        the_worker(storage)


def test_a_job_that_fails_again_and_again_is_not_taken_for_that(storage: Storage, services: Services) -> None:
    services.jobs.alive("one")
    job = a_job_waits(services, health.STUCK + 5)
    with services.db.transaction() as sql:
        sql.execute(update(Job).where(Job.id == job).values(attempts=1))
    assert "alive" in the_worker(storage)


def test_a_fact_that_nobody_delivers_is_said(storage: Storage, services: Services) -> None:
    services.jobs.alive("one")
    with services.db.transaction() as sql:
        record(sql, [Fact(events.SESSION_ENDED, None, int(services.store.clock()) - health.LATE - 5, "sid")])
    with pytest.raises(Wrong, match="a fact has waited 1"):
        the_worker(storage)


def test_without_redis_nothing_is_said_of_workers(storage: Storage, services: Services, valkey: Valkey) -> None:
    services.jobs.alive("one")
    valkey.kill()
    with pytest.raises(Wrong, match="Not to be known while Redis"):
        the_worker(storage)


def test_a_cluster_and_the_master_of_sentinels_are_well(cluster: Cluster, sentinels: Sentinels) -> None:
    for servers in (cluster, sentinels):
        with closing(sync_door(servers.url)) as door:
            assert health.hot(door) == "answers, is a master, and takes writes"


def test_a_cluster_with_slots_that_nobody_has_is_said(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    probed = cluster.owner(health.PROBE)
    lost = next(node for node in cluster.nodes[1:3] if node is not probed)  # without a replica
    try:
        with closing(sync_door(cluster.url)) as door:
            health.hot(door)
            lost.kill()
            wait_for(lambda: health.ALL_SLOTS not in cluster.nodes[0].execute("CLUSTER", "INFO"), seconds=30)
            with pytest.raises(Wrong, match="slots without a server"):
                health.hot(door)
    finally:
        cluster.kill()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere.sock"])
def test_a_broker_of_its_own_is_looked_at(settings: Settings, valkey: Valkey, url: str) -> None:
    def broker(url: str) -> str:
        return health.broker(Settings.read(**{**settings.model_dump(), "broker_url": url}))

    assert broker("") == "is the same Redis"
    assert broker(valkey.url) == "answers"
    with pytest.raises(Wrong, match="AUTHSVC_BROKER_URL"):
        broker(url)


def test_what_depends_on_a_database_that_is_away_is_not_guessed(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": "postgresql://x:hidden@127.0.0.1:1/x"})
    with closing(Storage(away)) as storage:
        found = {each.part: each for each in health.examine(storage.checks())}
    assert [part for part, each in found.items() if each.ok] == ["redis", "broker"]
    assert "AUTHSVC_DATABASE_URL" in found["database"].detail
    assert "Not to be known" in found["worker"].detail
    assert "hidden" not in repr(found)
