"""Sliding windows that count failures: taken at once or not at all, given back, and never exceeded by many at once."""

import secrets
import threading
from collections.abc import Iterator
from typing import cast

import pytest

from authsvc.core.cluster import SyncCluster
from authsvc.core.errors import RedisDown
from authsvc.core.limits import Full, Limit, Place, give_back, take
from authsvc.core.redis import Command, Reply, SyncRedis
from tests.servers import Valkey

pytestmark = pytest.mark.promise("B4")
NOW = 1_800_000_000.0


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[SyncRedis]:
    door = SyncRedis(valkey.url)
    yield door
    door.close()


def limit(most: int = 3, seconds: int = 60) -> Limit:
    return Limit(f"test-{secrets.token_hex(4)}", most, seconds)


def places(redis: SyncRedis, place: Place) -> int:
    count: int = redis.execute(("ZCARD", place.key)).values[0]
    return count


def test_a_window_takes_as_many_as_it_holds_and_says_how_long_to_wait(redis: SyncRedis) -> None:
    wanted = [(limit(3, 60), "anna")]
    for second in range(3):
        assert len(take(redis, wanted, NOW + second)) == 1

    with pytest.raises(Full) as full:
        take(redis, wanted, NOW + 10)
    assert full.value.retry_after == 50


def test_a_place_is_free_again_when_its_time_has_passed_and_no_sooner(redis: SyncRedis) -> None:
    wanted = [(limit(2, 60), "anna")]
    take(redis, wanted, NOW)
    take(redis, wanted, NOW + 30)

    with pytest.raises(Full):
        take(redis, wanted, NOW + 59.9)
    take(redis, wanted, NOW + 60)
    with pytest.raises(Full) as full:
        take(redis, wanted, NOW + 60.1)
    assert full.value.retry_after == 30


def test_each_subject_has_its_own_window(redis: SyncRedis) -> None:
    one = limit(1)
    take(redis, [(one, "anna")], NOW)

    take(redis, [(one, "eve")], NOW)
    take(redis, [(limit(1), "anna")], NOW)
    with pytest.raises(Full):
        take(redis, [(one, "anna")], NOW)


def test_a_place_that_is_given_back_is_free(redis: SyncRedis) -> None:
    wanted = [(limit(1), "anna"), (limit(1), "192.0.2.1")]
    for _ in range(5):
        give_back(redis, take(redis, wanted, NOW))

    take(redis, wanted, NOW)


def test_either_all_places_are_taken_or_none(redis: SyncRedis) -> None:
    wide, narrow = (limit(10), "anna"), (limit(1), "192.0.2.1")
    first = take(redis, [wide, narrow], NOW)

    with pytest.raises(Full):
        take(redis, [wide, narrow], NOW)

    assert [places(redis, place) for place in first] == [1, 1]


def test_of_several_full_windows_the_longest_wait_is_told(redis: SyncRedis) -> None:
    wanted = [(limit(1, 60), "a"), (limit(1, 3600), "b"), (limit(1, 600), "c")]
    take(redis, wanted, NOW)

    with pytest.raises(Full) as full:
        take(redis, wanted, NOW + 1)
    assert full.value.retry_after == 3599


def test_fifty_at_once_do_not_get_past_a_limit_of_ten(redis: SyncRedis) -> None:
    wanted, together = [(limit(10), "anna")], threading.Barrier(50)
    taken: list[Place] = []
    refused: list[Full] = []

    def attempt() -> None:
        together.wait()
        try:
            taken.extend(take(redis, wanted, NOW))
        except Full as full:
            refused.append(full)

    threads = [threading.Thread(target=attempt) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(taken), len(refused)) == (10, 40)
    assert places(redis, taken[0]) == 10


def test_a_window_leaves_redis_when_it_is_over(redis: SyncRedis) -> None:
    place = take(redis, [(limit(3, 60), "anna")], NOW)[0]

    assert 0 < redis.execute(("PTTL", place.key)).values[0] <= 60_000


def test_an_attempt_that_one_server_of_a_set_did_not_hear_of_leaves_no_place_on_the_others(redis: SyncRedis) -> None:
    class OneIsAway:
        """What the others execute is done; then the failure is told (core/cluster.py)."""

        def execute(self, *commands: Command) -> Reply:
            redis.execute(*commands)
            raise RedisDown

    rule, door = limit(), cast("SyncCluster", OneIsAway())
    with pytest.raises(RedisDown):
        take(door, [(rule, "anna")], NOW)
    assert redis.execute(("ZCARD", rule.key("anna"))).values == [0]


def test_without_redis_it_says_so(redis: SyncRedis, valkey: Valkey) -> None:
    valkey.kill()

    with pytest.raises(RedisDown):
        take(redis, [(limit(), "anna")], NOW)
    give_back(redis, [])
