"""What carries the tasks of a measurement or a stress test: the database itself, or a Redis."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.redis_servers import Redis

NAMES = ("orm", "redis")


class Carrier:
    """Carries tasks between producers and clusters; this one is the site's own database."""

    name = "orm"
    server: Redis | None = None

    def q_cluster(self) -> dict[str, Any]:
        """Return what `Q_CLUSTER` says of it."""
        return {"orm": "default"}

    def title(self) -> str:
        """Return what runs, and how; nothing where the database's own title says it."""
        return ""

    def clear(self) -> None:
        """Forget everything; a new database is empty anyway."""

    def commands(self) -> int:
        """Return how many commands the server has been given, this question included."""
        return 0

    def close(self) -> None:
        """End the server, if there is one."""


class RedisCarrier(Carrier):
    """A Redis of its own; `options` are the server's settings."""

    name = "redis"
    server: Redis

    def __init__(self, **options: str) -> None:
        self.server = Redis(**options)
        self.server.start()
        self._client: Any = None

    @property
    def client(self) -> Any:
        """Return a connection that stays open, so that a question is a single command."""
        if self._client is None:
            self._client = self.server.connect()
        return self._client

    @property
    def url(self) -> str:
        """Return its address for clients that want one."""
        return "redis://{}:{}/0".format(*self.server.address)

    def q_cluster(self) -> dict[str, Any]:
        """Return what `Q_CLUSTER` says of it."""
        return {"redis": self.server.settings()}

    def title(self) -> str:
        """Return what runs, and how durable it is."""
        version = self.client.info("server")["redis_version"]
        told = {name: self.client.config_get(name)[name] for name in ("appendonly", "appendfsync")}
        aof = f"appendonly {told['appendonly']}"
        if told["appendonly"] == "yes":
            aof += f", appendfsync {told['appendfsync']}"
        return f"Redis {version}, {aof}, no snapshots"

    def clear(self) -> None:
        """Forget everything."""
        self.client.flushall()

    def commands(self) -> int:
        """Return how many commands the server has been given, the last such question included."""
        return int(self.client.info("stats")["total_commands_processed"])

    def close(self) -> None:
        """End the server."""
        self.server.close()


@contextlib.contextmanager
def carrier(name: str, **options: str) -> Iterator[Carrier]:
    """Yield what carries the tasks; where redis-server is missing, say what to install."""
    if name == "orm":
        yield Carrier()
        return
    try:
        redis = RedisCarrier(**options)
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        sys.exit(str(missing))
    try:
        yield redis
    finally:
        redis.close()
