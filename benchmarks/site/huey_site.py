"""The trivial task for Huey, which by default stores every result but None, which this returns."""

import os

import bench_tasks  # type: ignore[import-not-found]
import huey  # type: ignore[import-not-found]

app = huey.RedisHuey("bench", url=os.environ["BENCH_REDIS"])
note = app.task()(bench_tasks.note)


def enqueue(label: int) -> None:
    """Enqueue one task."""
    note(label)
