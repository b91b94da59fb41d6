"""The benchmark counts what it should: the same code, small, without a look at the clock."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.brokers import Carrier, RedisCarrier
from benchmarks.databases import Provider
from benchmarks.measure import idleness, percentile, start_latencies, throughput
from benchmarks.others import OTHERS, Other, drain, left
from benchmarks.tables import Drain, ratio, versus_fastest
from tests.servers import missing


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisCarrier]:
    """Yield a Redis with nothing in it but what a test of this module has put there."""
    carrier = RedisCarrier()
    yield carrier
    carrier.close()


def test_a_drain_loses_nothing_and_runs_nothing_twice() -> None:
    found = throughput(Path(sys.executable), Provider(), Carrier(), 60, save_limit=0)

    assert (found["lost"], found["twice"], found["recorded"]) == (0, 0, 60)


def test_an_idle_cluster_is_measured_in_every_way() -> None:
    found = idleness(Path(sys.executable), Provider(), Carrier(), samples=3, idle_seconds=0.2)

    assert found["samples"] == 3
    assert found["processes"] >= 5
    assert found["idle_cpu_percent"] >= 0
    assert found["idle_statements_per_second"] >= 0


def test_a_drain_through_redis_ends_when_every_result_is_stored(redis: RedisCarrier) -> None:
    found = throughput(Path(sys.executable), Provider(), redis, 60, save_limit=0)

    assert (found["lost"], found["twice"], found["recorded"]) == (0, 0, 60)


def test_an_idle_cluster_on_redis_is_measured_at_both_servers(redis: RedisCarrier) -> None:
    found = idleness(Path(sys.executable), Provider(), redis, samples=3, idle_seconds=0.2)

    assert found["samples"] == 3
    assert found["idle_broker_cpu_percent"] >= 0
    assert found["idle_commands_per_second"] >= 0
    assert found["idle_statements_per_second"] >= 0


def test_asking_for_the_commands_counts_as_one(redis: RedisCarrier) -> None:
    before = redis.commands()
    redis.client.ping()
    redis.client.ping()

    assert redis.commands() - before - 1 == 2


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other.key)
def test_another_queue_drains_all_that_it_was_given(other: Other, redis: RedisCarrier) -> None:
    try:
        python = other.python()
    except subprocess.CalledProcessError as error:
        missing(f"{other.title} cannot be installed: {error}")

    found = drain(python, redis, other, other.settings[-1], 20)

    assert (found["tasks"], found["lost"], found["twice"]) == (20, 0, 0)
    assert left(redis, other.keys) == 0


def test_what_waits_and_what_is_claimed_is_left(redis: RedisCarrier) -> None:
    redis.clear()
    redis.client.rpush("celery", "one", "two")
    redis.client.hset("unacked", "three", "3")

    assert left(redis, ["celery", "unacked", "unacked_index"]) == 3


def test_latencies_are_counted_from_the_call() -> None:
    began = {"0": 1_000_000, "1": 5_000_000}

    assert start_latencies(began, [(1, 8_000_000), (0, 2_000_000)]) == [1.0, 3.0]


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([float(n) for n in range(100)], 95) == 95.0
    assert percentile([7.0], 99) == 7.0


def test_a_ratio_says_how_many_times_better_ours_is() -> None:
    assert ratio("drain_per_second", 100.0, 3000.0) == "30.0 x"
    assert ratio("latency_p95_ms", 200.0, 10.0) == "20.0 x"
    assert ratio("lost", 0.0, 0.0) == ""


def test_ours_is_compared_with_the_fastest_of_the_others() -> None:
    def found(queue: str, per_second: float, ours: bool = False) -> Drain:
        return Drain(queue, "a setting", "nothing", [{"drain_per_second": per_second}], ours)

    text = versus_fastest([found("Ours", 3000, ours=True), found("A", 100), found("B", 1500)])

    assert "The fastest of the others is B with a setting: 1,500 per second." in text
    assert "Ours with a setting: 3,000 per second, 2.0 x that." in text
