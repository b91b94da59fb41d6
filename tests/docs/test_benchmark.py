"""The benchmark counts what it should: the same code, small, without a look at the clock."""

import sys
from pathlib import Path

from benchmarks.brokers import Carrier
from benchmarks.databases import Provider
from benchmarks.measure import idleness, percentile, start_latencies, throughput
from benchmarks.tables import ratio


def test_a_drain_loses_nothing_and_runs_nothing_twice() -> None:
    found = throughput(Path(sys.executable), Provider(), Carrier(), 60, save_limit=0)

    assert (found["lost"], found["twice"], found["recorded"]) == (0, 0, 60)


def test_an_idle_cluster_is_measured_in_every_way() -> None:
    found = idleness(Path(sys.executable), Provider(), Carrier(), samples=3, idle_seconds=0.2)

    assert found["samples"] == 3
    assert found["processes"] >= 5
    assert found["idle_cpu_percent"] >= 0
    assert found["idle_statements_per_second"] >= 0


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
