"""The trivial task for Celery, whose default is to store no result."""

import os

import bench_tasks  # type: ignore[import-not-found]
import celery  # type: ignore[import-not-found]

app = celery.Celery("bench", broker=os.environ["BENCH_REDIS"])
note = app.task(bench_tasks.note, name="note")


def enqueue(label: int) -> None:
    """Enqueue one task."""
    note.delay(label)
