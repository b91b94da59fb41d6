"""A queue in a database of its own, on the alias `queue`, for the tests of the ORM broker."""

from __future__ import annotations

import copy
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connections
from django.db.transaction import atomic, set_rollback

from django_q.models import OrmQ
from django_q_broker_orm.broker import ORM
from django_q_broker_orm.wake import Waiter, Woken

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
    other: sqlite3.Connection,
    payload: str = "old",
    lock: str | None = "2020-01-01 00:00:00",
    key: str = "tests",
) -> None:
    """The columns that Django Q2 knows, and no other."""
    other.execute(
        'INSERT INTO django_q_ormq ("key", payload, "lock") VALUES (?, ?, ?)',
        (key, payload, lock),
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


class BlockedClaim:
    """A claim in a thread of its own, as a cluster makes it, known to be waiting."""

    def __init__(self) -> None:
        self.waits = threading.Event()
        self.read_end, self.write_end = os.pipe()
        self._claim = Background(self._claim_one)
        assert self.waits.wait(30)

    def outcome(self) -> Any:
        """The claimed packages, or what the claim raised."""
        return self._claim.outcome()

    def ring(self) -> None:
        """Ring the waker."""
        os.write(self.write_end, b"x")

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self.write_end)

    def _claim_one(self) -> Any:
        broker = ORM()
        broker.join_cluster()
        broker.waker = self.read_end
        self._announce(broker._waiter)
        try:
            return [delivery.package for delivery in broker.claim(1, 60)]
        finally:
            self.waits.set()
            broker.close()

    def _announce(self, waiter: Waiter) -> None:
        wait = waiter.wait

        def announced(seconds: float) -> Woken:
            self.waits.set()
            return wait(seconds)

        waiter.wait = announced  # type: ignore[method-assign]
