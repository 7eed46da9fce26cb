"""Sets of servers: the master that Sentinels name, and a Cluster. One try, whatever fails; well again by itself."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from authsvc.core.cluster import SLOTS, Slots
from authsvc.core.errors import RedisDown
from authsvc.core.redis import Breaker, Command, Reply
from tests.core.conftest import Connect
from tests.redis_sets import MASTER, Cluster, Sentinels
from tests.servers import wait_for

SEEDS = ("redis://a:1", "redis://b:2")
HALVES = [[0, 8191, [b"a", 1, b"id"]], [8192, 16383, [b"b", 2, b"id"], [b"c", 3, b"a replica"]]]
ON_A, ON_B = "bar", "foo"  # slots 5061 and 12182


class Answers:
    """Servers that answer each command with its own words, but for those that are down."""

    def __init__(self) -> None:
        self.now = 0.0
        self.down: set[str] = set()
        self.asked: list[tuple[str, tuple[Command, ...]]] = []
        self.map = HALVES
        self.slots = Slots(SEEDS, lambda: self.now)

    def execute(self, *commands: Command) -> Reply:
        conversation = self.slots.execute(commands)
        step = next(conversation)
        while True:
            self.asked.append((step.server, step.commands))
            try:
                if step.server in self.down:
                    step = conversation.throw(RedisDown())
                elif step.commands == (SLOTS,):
                    step = conversation.send(Reply([self.map], b"run"))
                else:
                    step = conversation.send(Reply(list(step.commands), step.server.encode()))
            except StopIteration as stop:
                reply: Reply = stop.value
                return reply


def get(key: str) -> Command:
    return ("GET", key)


# -- the map -----------------------------------------------------------------------------------------------------------


def test_each_command_goes_to_the_server_of_its_key_and_the_answers_come_in_order() -> None:
    servers = Answers()
    commands = (get(ON_B), ("EVAL", "script", 1, ON_A, "argument"), get(ON_B), ("PUBLISH", ON_A, b"words"))

    reply = servers.execute(*commands)

    assert reply.values == list(commands)
    assert servers.asked == [
        ("redis://a:1", (SLOTS,)),
        ("redis://b:2", (commands[0], commands[2])),
        ("redis://a:1", (commands[1], commands[3])),
    ]


def test_the_server_of_the_last_command_is_the_last_and_its_run_is_that_of_the_reply() -> None:
    """What is published follows all that was marked."""
    servers = Answers()
    reply = servers.execute(get(ON_A), get(ON_B), get(ON_A))
    assert [server for server, _ in servers.asked[1:]] == ["redis://b:2", "redis://a:1"]
    assert reply.run == b"redis://a:1"


def test_a_server_that_fails_does_not_keep_the_others_from_theirs() -> None:
    servers = Answers()
    servers.execute(get(ON_A))
    servers.down = {"redis://a:1"}
    servers.asked.clear()

    with pytest.raises(RedisDown):
        servers.execute(get(ON_A), get(ON_B))

    assert [server for server, _ in servers.asked] == ["redis://a:1", "redis://b:2"]


def test_the_map_is_asked_for_again_after_a_failure_but_once_a_second_at_most() -> None:
    servers = Answers()
    servers.execute(get(ON_A))
    servers.down = {"redis://a:1"}
    for _ in range(3):
        with suppress(RedisDown):
            servers.execute(get(ON_A))
    assert [commands for _, commands in servers.asked].count((SLOTS,)) == 1

    servers.now += Breaker.PAUSE
    servers.map = [[0, 16383, [b"b", 2, b"id"]]]
    assert servers.execute(get(ON_A)).run == b"redis://b:2"


def test_with_no_server_to_ask_the_old_map_is_kept() -> None:
    servers = Answers()
    servers.execute(get(ON_A))
    servers.down = set(SEEDS)
    servers.now += Breaker.PAUSE
    with suppress(RedisDown):
        servers.execute(get(ON_A))
    servers.now += Breaker.PAUSE
    with suppress(RedisDown):
        servers.execute(get(ON_A))
    servers.down = set()
    assert servers.execute(get(ON_A)).run == b"redis://a:1"


def test_a_slot_without_a_server_is_refused() -> None:
    servers = Answers()
    servers.map = HALVES[1:]
    with pytest.raises(RedisDown):
        servers.execute(get(ON_A))
    assert servers.execute(get(ON_B)).values


def test_a_server_without_an_address_is_the_one_that_was_asked() -> None:
    servers = Answers()
    servers.map = [[0, 16383, [None, 1, b"id"]]]
    assert servers.execute(get(ON_B)).run == b"redis://a:1"


# -- real ones ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    servers = Cluster(tmp_path)
    yield servers
    servers.kill()


@pytest.fixture
def own_sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    servers = Sentinels(tmp_path)
    yield servers
    servers.kill()


def test_a_cluster_is_used_by_key(connect: Connect, cluster: Cluster) -> None:
    cluster.wipe()
    door, keys = connect(cluster.url), [f"key:{number}" for number in range(50)]

    written = door.execute(*(("SET", key, key) for key in keys), ("PING",))
    read = door.execute(*(("GET", key) for key in keys))

    assert written.values == [b"OK"] * len(keys) + [b"PONG"]
    assert read.values == [key.encode() for key in keys]
    assert len({cluster.owner(key).port for key in keys}) == 3


def test_an_operation_on_one_key_gets_the_run_of_that_keys_server(connect: Connect, cluster: Cluster) -> None:
    door = connect(cluster.url)
    runs = {cluster.owner(key).port: door.execute(("GET", key)).run for key in map(str, range(50))}
    assert len(set(runs.values())) == 3


@pytest.mark.promise("R6")
def test_a_failed_over_server_of_a_cluster_is_replaced_and_its_keys_have_another_run(
    connect: Connect, own_cluster: Cluster
) -> None:
    door = connect(own_cluster.url)
    lost = own_cluster.nodes[0]
    on_it = next(key for key in map(str, range(99)) if own_cluster.owner(key) is lost)
    elsewhere = next(key for key in map(str, range(99)) if own_cluster.owner(key) is not lost)
    before = door.execute(("GET", on_it)).run

    lost.kill()
    with pytest.raises(RedisDown):
        door.execute(("GET", on_it))
    assert door.execute(("GET", elsewhere)).values == [None]

    wait_for(lambda: own_cluster.owner(on_it) is own_cluster.nodes[3], seconds=30)
    assert eventually(door, ("GET", on_it)).run != before  # the value may be lost: nothing waits for replicas


def test_a_slot_that_has_moved_costs_one_failure(connect: Connect, own_cluster: Cluster) -> None:
    door, key = connect(own_cluster.url), "moved"
    door.execute(("SET", key, "before"))
    source = own_cluster.owner(key)
    target = next(node for node in own_cluster.nodes[:3] if node is not source)
    slot, taker = source.execute("CLUSTER", "KEYSLOT", key), target.execute("CLUSTER", "MYID")
    target.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", source.execute("CLUSTER", "MYID"))
    source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", taker)
    source.execute("MIGRATE", "127.0.0.1", target.port, key, 0, 1000)
    for node in (target, source):
        node.execute("CLUSTER", "SETSLOT", slot, "NODE", taker)

    with pytest.raises(RedisDown):
        door.execute(("GET", key))

    assert eventually(door, ("GET", key)).values == [b"before"]


def test_a_cluster_is_found_through_a_replica(connect: Connect, cluster: Cluster) -> None:
    door = connect(f"redis+cluster://{cluster.nodes[3].address}")
    assert door.execute(("SET", "a", 1), ("SET", "b", 1), ("SET", "c", 1)).values == [b"OK"] * 3


def test_a_cluster_of_which_no_server_answers(connect: Connect) -> None:
    with pytest.raises(RedisDown):
        connect("redis+cluster://127.0.0.1:1,127.0.0.1:2").execute(("GET", "key"))


def test_the_master_is_the_one_that_sentinels_name(connect: Connect, sentinels: Sentinels) -> None:
    door = connect(sentinels.url)
    door.execute(("SET", "where", "here"))
    assert sentinels.master.execute("GET", "where") == b"here"


def test_sentinels_that_are_away_are_passed_over(connect: Connect, sentinels: Sentinels) -> None:
    hosts = f"127.0.0.1:1,{sentinels.sentinels[2].address}"
    assert connect(f"redis+sentinel://{hosts}/{MASTER}").execute(("PING",)).values == [b"PONG"]
    for nobody in (f"redis+sentinel://{hosts}/unknown", f"redis+sentinel://127.0.0.1:1/{MASTER}"):
        with pytest.raises(RedisDown):
            connect(nobody).execute(("PING",))


@pytest.mark.promise("R6")
@pytest.mark.parametrize("away", ["killed", "stopped"])
def test_after_a_failover_the_new_master_is_used_and_has_another_run(
    connect: Connect, own_sentinels: Sentinels, away: str
) -> None:
    door, lost = connect(own_sentinels.url), own_sentinels.master
    before = door.execute(("PING",)).run
    if away == "killed":
        lost.kill()
    else:
        lost.stop()
    with pytest.raises(RedisDown):
        door.execute(("PING",))

    wait_for(lambda: own_sentinels.master is not lost, seconds=30)
    assert eventually(door, ("PING",)).run != before


def eventually(door: object, command: Command) -> Reply:
    """The answer, once the breaker and the servers have come to terms."""
    replies: list[Reply] = []

    def answers() -> bool:
        with suppress(RedisDown):
            replies.append(door.execute(command))  # type: ignore[attr-defined]
        return bool(replies)

    wait_for(answers, seconds=30)
    return replies[0]
