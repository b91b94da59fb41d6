"""Locks that keep a cluster from writing, on each database in its own way."""

import contextlib
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator

from tests.databases import SQLite
from tests.harness import ClusterProcess, Project

TABLES = "django_q_task, django_q_ormq"

OPEN_TRANSACTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
"""


@contextlib.contextmanager
def locked(project: Project) -> Iterator[None]:
    """Keep everybody else from writing to the database; reading goes on."""
    with contextlib.closing(project.database.connect()) as connection:
        if isinstance(project.database, SQLite):
            connection.execute("BEGIN IMMEDIATE")
        else:
            connection.execute("BEGIN")
            connection.execute(f"LOCK TABLE {TABLES} IN EXCLUSIVE MODE")
        yield
        connection.execute("ROLLBACK")


def halt(project: Project, cluster: ClusterProcess) -> None:
    """Halt a whole cluster, but not in the middle of a transaction: nobody could go on."""
    _halt(project, lambda number: cluster.send(number, group=True))


def halt_one(project: Project, pid: int) -> None:
    """Halt one process, but not in the middle of a transaction either."""
    _halt(project, lambda number: os.kill(pid, number))


def _halt(project: Project, send: Callable[[int], None]) -> None:
    for _ in range(100):
        send(signal.SIGSTOP)
        if not is_somebody_writing(project):
            return
        send(signal.SIGCONT)
    raise AssertionError("Somebody was in a transaction each time it was halted.")


def is_somebody_writing(project: Project) -> bool:
    """Is there a transaction whose locks would keep others waiting?"""
    if not isinstance(project.database, SQLite):
        return bool(project.query(OPEN_TRANSACTIONS)[0][0])
    with contextlib.closing(sqlite3.connect(project.database_path, timeout=0.2)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False
