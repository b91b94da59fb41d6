"""The one error of an outage, whatever of the many redis-py raises for it."""

from __future__ import annotations

import redis
from redis.exceptions import (
    ClusterDownError,
    ClusterError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    TryAgainError,
)

from django_q.errors import BrokerUnavailable

OUTAGES = (
    redis.ConnectionError,
    redis.TimeoutError,
    OSError,
    OutOfMemoryError,
    ReadOnlyError,
    MasterDownError,
    TryAgainError,
    ClusterDownError,
    ClusterError,
    RedisClusterException,
)
"""What says that the server is away, is not the master, or takes nothing for the moment."""


class RedisUnavailable(BrokerUnavailable, redis.ConnectionError, redis.TimeoutError):
    """Redis cannot be reached, or takes nothing for the moment.

    It is redis-py's errors too, which code written for Django Q2 may expect.
    """


def unavailable(server: str, error: Exception) -> RedisUnavailable:
    """The error that says which server, what is wrong, and what to look at."""
    return RedisUnavailable(f"{server} {_complaint(error)}")


def _complaint(error: Exception) -> str:
    if isinstance(error, redis.AuthenticationError):
        return f"refuses the credentials: {error}. Look at username and password."
    if isinstance(error, redis.TimeoutError):
        return f"does not answer: {error}. Is it paused, busy, or cut off?"
    if isinstance(error, OutOfMemoryError):
        return (
            "is out of memory and takes no more tasks. Raise maxmemory, or let clusters work "
            "the queue off."
        )
    if isinstance(error, ReadOnlyError):
        return "is a replica and takes no writes. Name the master, or its Sentinels."
    return f"cannot be reached: {error}. Does it run there?"
