"""The trivial task for RQ, which keeps each job with its result for 500 seconds."""

import os

import bench_tasks  # type: ignore[import-not-found]
import redis
import rq  # type: ignore[import-not-found]

queue = rq.Queue("bench", connection=redis.Redis.from_url(os.environ["BENCH_REDIS"]))


def enqueue(label: int) -> None:
    """Enqueue one task."""
    queue.enqueue(bench_tasks.note, label)
