"""Enqueues the benchmark's tasks, in a process of its own, and prints what it saw as JSON."""

import json
import random
import sys
import time

import django


def burst(count: int) -> dict[str, float]:
    """Enqueue `count` tasks, one by one, as fast as can be."""
    from django_q.tasks import async_task

    began = time.perf_counter()
    for label in range(count):
        async_task("bench_tasks.note", label)
    return {"seconds": time.perf_counter() - began}


def singles(count: int) -> dict[str, int]:
    """Enqueue `count` tasks with pauses, so that each finds an idle cluster; return when."""
    from django_q.tasks import async_task

    began = {}
    for label in range(count):
        time.sleep(0.05 + 0.1 * random.random())
        began[str(label)] = time.time_ns()
        async_task("bench_tasks.note", label)
    return began


def connect() -> None:
    """Load and connect what a process that has enqueued before has long had."""
    from django_q.brokers import get_broker

    get_broker().ping()


if __name__ == "__main__":
    django.setup()
    connect()
    produce = {"burst": burst, "singles": singles}[sys.argv[1]]
    print(json.dumps(produce(int(sys.argv[2]))))
