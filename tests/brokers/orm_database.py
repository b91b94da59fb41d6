"""A queue in a database of its own, on the alias `queue`, for the tests of the ORM broker."""

from __future__ import annotations

import copy
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connections
from django.db.transaction import atomic, set_rollback

from django_q.models import OrmQ

WAL = {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}


@contextmanager
def database(path: Path, alias: str = "queue", **options: Any) -> Iterator[str]:
    """A new SQLite file with the queue's table, known to Django as `alias`."""
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}
    with registered(entry, alias):
        create_table(alias)
        yield alias


@contextmanager
def registered(entry: dict[str, Any], alias: str = "queue") -> Iterator[str]:
    """A database, known to Django as `alias`."""
    connections.databases[alias] = copy.deepcopy(connections.databases["default"]) | entry
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]


def create_table(alias: str) -> None:
    with connections[alias].schema_editor() as editor:
        editor.create_model(OrmQ)


@contextmanager
def stranger(alias: str = "queue") -> Iterator[sqlite3.Connection]:
    """A connection that is not Django's: another program's, as far as SQLite can tell."""
    other = sqlite3.connect(
        connections[alias].settings_dict["NAME"], isolation_level=None, check_same_thread=False
    )
    try:
        yield other
    finally:
        other.close()


@contextmanager
def rolled_back(alias: str = "queue") -> Iterator[None]:
    """A transaction that comes to nothing."""
    with atomic(using=alias):
        yield
        set_rollback(True, using=alias)


def insert_like_django_q2(
    other: sqlite3.Connection, payload: str = "old", lock: str | None = "2020-01-01 00:00:00"
) -> None:
    """The columns that Django Q2 knows, and no other."""
    other.execute(
        'INSERT INTO django_q_ormq ("key", payload, "lock") VALUES (?, ?, ?)',
        ("tests", payload, lock),
    )


class Background:
    """Something that blocks, run in a thread with a database connection of its own."""

    def __init__(self, work: Callable[[], Any], alias: str = "queue") -> None:
        self._work = work
        self._alias = alias
        self._outcome: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def outcome(self) -> Any:
        """What the work returned, or what it raised."""
        self._thread.join(30)
        assert not self._thread.is_alive(), "it still blocks after 30 seconds"
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self._work()
        except BaseException as error:
            self._outcome = error
        finally:
            connections[self._alias].close()
