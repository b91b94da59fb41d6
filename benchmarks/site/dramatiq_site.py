"""The trivial task for Dramatiq, with the middleware that it has by default."""

import os

import bench_tasks  # type: ignore[import-not-found]
import dramatiq  # type: ignore[import-not-found]
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found]

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_REDIS"]))
note = dramatiq.actor(bench_tasks.note)


def enqueue(label: int) -> None:
    """Enqueue one task."""
    note.send(label)
