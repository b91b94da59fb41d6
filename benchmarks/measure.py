"""The measurements of a Django site: how fast it drains its queue, and what it costs while idle."""

import os
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.brokers import Carrier
from benchmarks.databases import Provider
from benchmarks.processes import cpu_seconds, server_seconds, stop
from benchmarks.sites import Site, fresh_site
from tests.harness import session_members

SETTLE_SECONDS = 3


def throughput(
    python: Path, provider: Provider, carrier: Carrier, count: int, save_limit: int | None
) -> dict[str, Any]:
    """Enqueue `count` trivial tasks, then start a cluster and let it work until all are done."""
    with fresh_site(python, provider, carrier, save_limit) as site:
        produced = site.produce("burst", count)
        load = os.getloadavg()[0]
        with site.settled(count) as is_settled:
            began = time.time_ns()
            with site.cluster() as cluster:
                finished = site.ledger.wait(count, is_settled, lambda: cluster.poll() is None)
                stop_seconds = stop(cluster)
        recorded = site.query("SELECT count(*) FROM django_q_task WHERE success")
        figures = site.ledger.figures(count, finished)
    return {
        "tasks": count,
        "enqueue_per_second": count / produced["seconds"],
        **figures,
        "start_to_finish_seconds": (finished - began) / 1e9,
        "recorded": recorded,
        "stop_seconds": stop_seconds,
        "load": load,
    }


def idleness(
    python: Path, provider: Provider, carrier: Carrier, samples: int, idle_seconds: float
) -> dict[str, Any]:
    """Measure an idle cluster: how soon it starts a task, what it costs, how fast it stops."""
    trace = provider.server is None
    with fresh_site(python, provider, carrier, trace=trace) as site, site.cluster() as cluster:
        singles(site, cluster, 1, 1)
        began = singles(site, cluster, samples, samples + 1)
        latencies = start_latencies(began, site.ledger.runs()[1:])
        time.sleep(SETTLE_SECONDS)
        load = os.getloadavg()[0]
        idle = idle_cost(site, provider, cluster, idle_seconds)
        stop_seconds = stop(cluster)
    return {
        "samples": len(latencies),
        "latency_p50_ms": percentile(latencies, 50),
        "latency_p95_ms": percentile(latencies, 95),
        "latency_p99_ms": percentile(latencies, 99),
        "stop_seconds": stop_seconds,
        "load": load,
        **idle,
    }


def singles(site: Site, cluster: subprocess.Popen[bytes], count: int, total: int) -> dict[str, int]:
    """Enqueue single tasks; return when each was, once `total` in all are done."""
    began: dict[str, int] = site.produce("singles", count)
    with site.settled(total) as is_settled:
        site.ledger.wait(total, is_settled, lambda: cluster.poll() is None)
    return began


def start_latencies(began: dict[str, int], runs: list[tuple[int, int]]) -> list[float]:
    """Return the milliseconds from the call of `async_task` to the task's first line, sorted."""
    return sorted((moment - began[str(label)]) / 1e6 for label, moment in runs)


def idle_cost(
    site: Site, provider: Provider, cluster: subprocess.Popen[bytes], seconds: float
) -> dict[str, Any]:
    """Return what a cluster that has nothing to do costs: processor, database, broker."""
    carrier = site.carrier
    with provider.statements(site.database) as logged:
        traced = len(site.traced())
        commands = carrier.commands()
        cpu, server_cpu = cpu_seconds(cluster.pid), server_seconds(provider.server)
        broker_cpu = server_seconds(carrier.server)
        began = time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - began
        cpu = cpu_seconds(cluster.pid) - cpu
        server_cpu = server_seconds(provider.server) - server_cpu
        broker_cpu = server_seconds(carrier.server) - broker_cpu
        # The server counts a command when it is done, so the first question is among them.
        commands = carrier.commands() - commands - 1
    statements = logged or site.traced()[traced:]
    cost = {
        "idle_seconds": elapsed,
        "idle_cpu_percent": 100 * cpu / elapsed,
        "idle_statements_per_second": len(statements) / elapsed,
        "idle_statements": dict(Counter(statements).most_common(10)),
        "processes": len(session_members({cluster.pid})),
    }
    if provider.server is not None:
        cost["idle_server_cpu_percent"] = 100 * server_cpu / elapsed
    if carrier.server is not None:
        cost["idle_broker_cpu_percent"] = 100 * broker_cpu / elapsed
        cost["idle_commands_per_second"] = commands / elapsed
    return cost


def percentile(ordered: list[float], percent: float) -> float:
    """Return the nearest-rank percentile of sorted values."""
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
