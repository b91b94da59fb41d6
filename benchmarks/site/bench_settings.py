"""Django settings of the benchmark, the same for both: two workers, database, broker."""

import os
import runpy
from pathlib import Path
from typing import Any

from django.db.backends.signals import connection_created

FOLDER = Path(os.environ["BENCH_FOLDER"])
WAKE_UP_READ = "PRAGMA data_version"
"""Reads a number from shared memory, takes no lock and is no work for the database."""

GIVEN = runpy.run_path(os.environ["BENCH_GIVEN"])

SECRET_KEY = "the benchmark signs its tasks with this"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_q"]
DATABASES = {"default": GIVEN["DATABASE"]}
Q_CLUSTER: dict[str, Any] = {"name": "bench", "workers": 2, **GIVEN["BROKER"]}
if save_limit := os.environ.get("BENCH_SAVE_LIMIT"):
    Q_CLUSTER["save_limit"] = int(save_limit)


def trace(connection: Any, **_: object) -> None:
    """Write each statement that SQLite runs, the wake-up read apart, as a line to a file."""
    descriptor = os.open(FOLDER / "statements", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(statement: str) -> None:
        if statement == WAKE_UP_READ:
            return
        line = " ".join(statement.split())[:200]
        os.write(descriptor, line.encode(errors="replace") + b"\n")

    connection.connection.set_trace_callback(note)


if os.environ.get("BENCH_TRACE"):
    # Only where statements are counted: a drain is not slowed down by it.
    connection_created.connect(trace, weak=False)
