"""The one error of an outage, whatever of the many redis-py raises for it."""

from __future__ import annotations

import re

import redis
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    MaxConnectionsError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
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

REFUSALS = re.compile(r"(?:^|-)(OOM|READONLY|MISCONF|NOREPLICAS|BUSY|UNBLOCKED)\b")
"""The same as the server puts it where redis-py has no class for it: of a disk that is full, too
few replicas, a script that runs for too long; and where Redis 6 says it of one of our scripts."""


class RedisUnavailable(BrokerUnavailable, redis.ConnectionError, redis.TimeoutError):
    """Redis cannot be reached, or takes nothing for the moment.

    It is redis-py's errors too, which code written for Django Q2 may expect.
    """


def is_outage(error: Exception) -> bool:
    """Is it the server's trouble, and may pass, or ours?"""
    if isinstance(error, ResponseError) and REFUSALS.search(str(error)):
        return True
    return isinstance(error, OUTAGES)


def unavailable(server: str, error: Exception) -> RedisUnavailable:
    """The error that says which server, what is wrong, and what to look at."""
    return RedisUnavailable(f"{server} {_complaint(error)}")


COMPLAINTS: tuple[tuple[type[Exception], str, str], ...] = (
    (
        redis.AuthenticationError,
        "",
        "refuses the credentials: {}. Look at username and password.",
    ),
    (redis.TimeoutError, "", "does not answer: {}. Is it paused, busy, or cut off?"),
    (BusyLoadingError, "", "has just started and is still loading its data."),
    (MaxConnectionsError, "", "has no connection left for this process. Raise max_connections."),
    (
        OutOfMemoryError,
        "OOM",
        "is out of memory and takes no more tasks. Raise maxmemory, or let clusters work the "
        "queue off.",
    ),
    (
        ReadOnlyError,
        "READONLY",
        "is a replica and takes no writes. Name the master, or its Sentinels.",
    ),
    (ResponseError, "", "takes nothing for the moment: {}."),
    (Exception, "", "cannot be reached: {}. Does it run there?"),
)
"""The class of an error, or a word that the server uses, and what it means to the reader."""


def _complaint(error: Exception) -> str:
    said = str(error).rstrip(".")
    sentence = next(
        sentence
        for kind, word, sentence in COMPLAINTS
        if isinstance(error, kind) or (word and word in said)
    )
    return sentence.format(said)
