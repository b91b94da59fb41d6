"""Queues what is due, once and here, as in 1.x; `_moved` says where the other names went."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from django_q._moved import attribute_of

if TYPE_CHECKING:
    from django_q.brokers import Broker


def scheduler(broker: Broker | None = None) -> None:
    """Queue the next occurrence of each schedule that is due, as a cluster does at every turn.

    For tests, and for sites whose schedules are run by something else than a cluster. At most
    fifty schedules have their turn, those that are due longest. Tasks are queued, not run, also
    where `sync` is set. Raises what the first of those met that could not be queued.
    """
    # Late: the module can be imported before Django's models are ready.
    from django.utils import timezone

    from django_q.brokers import get_broker
    from django_q.cluster.due import DueSchedules
    from django_q.conf import get_settings

    broker = broker or get_broker()
    due = DueSchedules(get_settings(), broker, lambda: False, timezone.now, time.monotonic)
    due.queue_all()


def __getattr__(name: str) -> Any:
    return attribute_of(__name__, name)
