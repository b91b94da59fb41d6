"""Asks the server about itself, and keeps the one client of a process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from threading import Lock
from typing import Any

import redis
from redis.exceptions import RedisError, ResponseError

from django_q.conf import Settings
from django_q_broker_redis.connection import connect, is_cluster

_lock = Lock()
_known: tuple[Settings, Any] | None = None

OLDEST = (6, 2)
"""The version of Redis that learned all commands of the scripts."""


def _forget() -> None:
    """In a forked process: its parent's client, and the lock that a thread of it may have held."""
    global _lock, _known
    _lock, _known = Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def client_of(settings: Settings) -> Any:
    """The client for these settings: a connection for each `async_task` would cost more than the
    task. Its pool knows threads, and a forked process makes its own."""
    global _known  # noqa: PLW0603 - one per process; replaced whole
    known = _known
    if known is None or known[0] is not settings:
        with _lock:
            known = _known
            if known is None or known[0] is not settings:
                known = _known = (settings, connect(settings))
    return known[1]


def node_of(client: Any, key: str) -> Any:
    """A client of the one server that has this key."""
    if not is_cluster(client):
        return client
    node = client.get_node_from_key(key)
    return client.get_redis_connection(node)


def pool_of(client: Any, key: str) -> Any:
    """The connections to the server that has this key."""
    return node_of(client, key).connection_pool


def drop_idle_connections(client: Any) -> None:
    """Close what nobody uses at the moment; other threads have theirs."""
    nodes = client.get_nodes() if is_cluster(client) else [client]
    for node in nodes:
        one = client.get_redis_connection(node) if is_cluster(client) else node
        pool = one.connection_pool
        if isinstance(pool, redis.BlockingConnectionPool):
            continue  # a cache's; it cannot tell which ones are idle
        with contextlib.suppress(RedisError, OSError):
            pool.disconnect(inuse_connections=False)


def title(client: Any) -> str:
    """Name and version, and how soon what it has said yes to is on its disk."""
    facts = client.info("server")
    name = "Valkey" if "valkey_version" in facts else "Redis"
    version = facts.get("valkey_version") or facts["redis_version"]
    return f"{name} {version}, {_durability(client)}"


def _durability(client: Any) -> str:
    if not client.info("persistence").get("aof_enabled"):
        return "no append-only file"
    try:
        policy = client.config_get("appendfsync").get("appendfsync")
    except ResponseError:  # managed servers do not let us ask
        policy = None
    return f"appendfsync {policy}" if policy else "append-only file"


def warnings(client: Any) -> Iterator[str]:
    """What of its settings may cost tasks."""
    version = str(client.info("server")["redis_version"])
    if _numbers(version) < OLDEST:
        yield (
            f"The Redis of the queue is of version {version}, and the broker needs "
            f"{'.'.join(map(str, OLDEST))} or later."
        )
    memory = client.info("memory")
    policy = str(memory.get("maxmemory_policy", ""))
    if memory.get("maxmemory") and policy.startswith("allkeys"):
        yield (
            f"The Redis of the queue has maxmemory-policy {policy}: when its memory is full it "
            "evicts keys, and a queue with all its tasks is a key. Set maxmemory-policy to "
            "noeviction, or to volatile-lru beside a cache whose keys expire."
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
