"""Decides what the broker is told of a finished attempt: done, try again, or nothing."""

from __future__ import annotations

import logging
import random

from django_q import package
from django_q.brokers.base import Broker
from django_q.cluster.lane import Action
from django_q.conf import Settings
from django_q.errors import BadPackage

logger = logging.getLogger("django-q")


def identify(delivery: bytes | str) -> package.TaskDict | None:
    """The task in a package, read without importing anything; None, logged, where there is none.

    Nobody's task is no row: nothing says which task it was.
    """
    try:
        return package.inspect(delivery)
    except package.BadSignature as error:
        logger.error("Discarded a package that nobody here has signed: %s", error)
    except BadPackage as error:
        logger.error("Discarded a package that holds no task: %s", error)
    return None


def after_failure(
    *, attempt: int, ack_failure: bool, settings: Settings, broker: type[Broker]
) -> tuple[Action, float]:
    """The action and the delay in seconds after a failed attempt.

    A task is tried again as `max_attempts` says. Where that is not set, as in Django Q2: every
    `retry` seconds on the brokers that did so then, never on the others.
    """
    if ack_failure or settings.ack_failures:
        return Action.ACKNOWLEDGE, 0
    if settings.max_attempts and attempt >= settings.max_attempts:
        return Action.ACKNOWLEDGE, 0
    if not broker.supports_release:
        # A 1.x broker presents it again by itself, or has no receipt to wait for.
        return Action.FORGET, 0
    if not settings.max_attempts and not broker.retries_failures:
        return Action.ACKNOWLEDGE, 0
    return Action.RETRY, backoff(attempt, settings)


def backoff(attempt: int, settings: Settings) -> float:
    """Seconds until the next attempt: `backoff` as a number, a list or "exponential"."""
    pause = settings.backoff
    if pause is None:
        return settings.retry
    if pause == "exponential":
        # Full range doubling, a quarter of it jitter, so that a herd spreads out.
        return min(2.0**attempt, 3600.0) * random.uniform(0.75, 1.0)
    if isinstance(pause, list | tuple):
        return float(pause[min(attempt, len(pause)) - 1])
    return float(pause)
