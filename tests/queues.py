"""Where the packages of a test project wait, and what can be seen there from outside."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

from tests.databases import Database
from tests.redis_servers import Redis

NAME = "project"
"""What `Q_CLUSTER["name"]` of a project is, and so its queue."""

LOGICAL_DATABASE = 1
"""Of a Redis that other tests use as well: it is a project's own while that lives."""


LOOK = "return {redis.call('HGETALL', KEYS[1]), redis.call('LLEN', KEYS[2])}"


class Package(NamedTuple):
    """What the broker says of one package."""

    is_claimed: bool
    lapses: int
    attempts: int


class Queue:
    """A project's queue: what the settings say of it, and what is in it."""

    settings: dict[str, Any]
    """The keys of `Q_CLUSTER` that choose it."""
    retries_failures: bool
    """Is a failed task tried again where `max_attempts` is not set?"""

    def packages(self) -> list[Package]:
        """Return what is in the queue, claimed or not; what was claimed first comes first."""
        raise NotImplementedError

    @property
    def is_empty(self) -> bool:
        """Is nothing left, neither waiting nor claimed?"""
        return not self.packages()

    @property
    def waiting(self) -> int:
        """How many packages nobody has claimed?"""
        return sum(not package.is_claimed for package in self.packages())

    def counts(self) -> list[tuple[int, int]]:
        """Return lapses and attempts of all packages."""
        return [(package.lapses, package.attempts) for package in self.packages()]

    def drop(self) -> None:
        """Remove all that is in it."""


class TableQueue(Queue):
    """The ORM broker's table in the project's own database, which goes with that."""

    settings = {"orm": "default"}
    retries_failures = True

    def __init__(self, database: Database) -> None:
        self.database = database

    def packages(self) -> list[Package]:
        rows = self.database.query(
            "SELECT claim IS NOT NULL, lapses, attempts FROM django_q_ormq ORDER BY id"
        )
        return [Package(bool(claimed), lapses, attempts) for claimed, lapses, attempts in rows]


class RedisQueue(Queue):
    """A logical database of a Redis."""

    retries_failures = False

    def __init__(self, server: Redis) -> None:
        self.server = server
        self.settings = {"redis": server.settings(db=LOGICAL_DATABASE)}
        self.drop()

    def packages(self) -> list[Package]:
        list_key = f"django_q:{NAME}:q"
        with self._connect() as client:
            # A script, because a server without memory lets nobody else look at two things at once.
            claims, new = client.eval(LOOK, 2, f"{{{list_key}}}:claims", list_key)
        records = dict(zip(claims[::2], claims[1::2], strict=True))
        known = [record.split() for _, record in sorted(records.items())]
        claimed = [
            Package(claim != "0", int(lapses), int(attempts))
            for claim, lapses, attempts, _ in known
        ]
        return claimed + [Package(False, 0, 0)] * new

    def drop(self) -> None:
        with self._connect() as client:
            client.flushdb()

    def _connect(self) -> contextlib.closing[Any]:
        return contextlib.closing(self.server.connect(db=LOGICAL_DATABASE))
