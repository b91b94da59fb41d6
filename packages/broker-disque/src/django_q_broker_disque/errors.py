"""The one error of an outage, whatever redis-py raises and Disque says in it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import redis
from redis.exceptions import AuthenticationError, BusyLoadingError, ResponseError

from django_q.errors import BrokerUnavailable, ConfigurationError, DjangoQError

OUTAGES = (redis.ConnectionError, redis.TimeoutError, OSError)

REFUSALS = re.compile(r"^(OOM|LEAVING|NOREPL|PAUSED|MISCONF)\b")
"""What a node says that takes nothing for the moment: out of memory, leaving its cluster, too few
other nodes to keep copies, a paused queue, a disk that is full."""

UNKNOWN_JOB = re.compile(r"^(NOJOB|ACKED)\b")
"""What a node says of a job that it has not, or that is done with."""


class DisqueUnavailable(BrokerUnavailable, redis.ConnectionError):
    """No node of Disque can be reached, or takes anything for the moment.

    It is redis-py's error too, which code written for Django Q may expect.
    """


class DisqueRefused(ConfigurationError, AuthenticationError):
    """A node does not let us in, or is none; no later try would mend that."""


def is_refusal_of_credentials(error: Exception) -> bool:
    """Is it the password? No other node would think otherwise."""
    return isinstance(error, AuthenticationError)


def is_outage(error: Exception) -> bool:
    """Is it the node's trouble, and may pass, or ours?"""
    if isinstance(error, ResponseError):
        return REFUSALS.match(str(error)) is not None
    return isinstance(error, OUTAGES)


def refused(address: str, error: Exception) -> DisqueRefused:
    """The error that says which node does not let us in."""
    return DisqueRefused(
        f"Disque at {address} refuses the password: {_said(error)}. "
        'Look at Q_CLUSTER["disque_auth"] and at the node\'s requirepass.'
    )


def no_disque(address: str) -> DisqueRefused:
    """The error that says that something else runs there."""
    return DisqueRefused(
        f"What answers at {address} is no Disque 1.0. "
        'Look at the addresses in Q_CLUSTER["disque_nodes"].'
    )


def explained(address: str, error: Exception) -> Exception:
    """What is neither an outage nor the password: of redis-py's errors which node it was."""
    if not isinstance(error, ResponseError):
        return error
    return DjangoQError(f"Disque at {address} refuses a command: {_said(error)}.")


def unavailable(errors: Mapping[str, Exception]) -> DisqueUnavailable:
    """The error that says of each node what is wrong with it."""
    return DisqueUnavailable(
        "; ".join(f"Disque at {address} {_complaint(error)}" for address, error in errors.items())
    )


def _complaint(error: Exception) -> str:
    said = _said(error)
    if isinstance(error, redis.TimeoutError):
        return f"does not answer: {said}. Is it paused, busy, or cut off?"
    if isinstance(error, BusyLoadingError):
        return "has just started and is still loading its jobs."
    if isinstance(error, ResponseError):
        return f"takes nothing for the moment: {said}."
    return f"cannot be reached: {said}. Does it run there?"


def _said(error: Exception) -> str:
    return str(error).rstrip(".")
