"""The public API: queue tasks, read their results.

Every name is imported when it is first asked for, so that `django_q.tasks` can be imported
before Django's models are ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db import IntegrityError

    from django_q.brokers import get_broker
    from django_q.conf import Conf, logger
    from django_q.humanhash import uuid
    from django_q.models import Schedule, Task
    from django_q.queues import Queue
    from django_q.signals import pre_enqueue
    from django_q.signing import SignedPackage
    from django_q.tasks.calls import AsyncTask
    from django_q.tasks.chains import Chain, async_chain
    from django_q.tasks.cleaning import clean_old_tasks
    from django_q.tasks.enqueue import _sync, async_task
    from django_q.tasks.groups import (
        count_group,
        count_group_cached,
        delete_group,
        delete_group_cached,
        fetch_group,
        fetch_group_cached,
        result_group,
        result_group_cached,
    )
    from django_q.tasks.iterables import Iter, async_iter
    from django_q.tasks.results import (
        delete_cached,
        fetch,
        fetch_cached,
        queue_size,
        result,
        result_cached,
    )
    from django_q.tasks.schedules import schedule

__all__ = [
    "AsyncTask",
    "Chain",
    "Conf",
    "IntegrityError",
    "Iter",
    "Queue",
    "Schedule",
    "SignedPackage",
    "Task",
    "_sync",
    "async_chain",
    "async_iter",
    "async_task",
    "clean_old_tasks",
    "count_group",
    "count_group_cached",
    "delete_cached",
    "delete_group",
    "delete_group_cached",
    "fetch",
    "fetch_cached",
    "fetch_group",
    "fetch_group_cached",
    "get_broker",
    "logger",
    "pre_enqueue",
    "queue_size",
    "result",
    "result_cached",
    "result_group",
    "result_group_cached",
    "schedule",
    "uuid",
]

_HOMES = {
    "django.db": ("IntegrityError",),
    "django_q.brokers": ("get_broker",),
    "django_q.conf": ("Conf", "logger"),
    "django_q.humanhash": ("uuid",),
    "django_q.models": ("Schedule", "Task"),
    "django_q.queues": ("Queue",),
    "django_q.signals": ("pre_enqueue",),
    "django_q.signing": ("SignedPackage",),
    "django_q.tasks.chains": ("Chain", "async_chain"),
    "django_q.tasks.calls": ("AsyncTask",),
    "django_q.tasks.cleaning": ("clean_old_tasks",),
    "django_q.tasks.enqueue": ("async_task", "_sync"),
    "django_q.tasks.groups": (
        "count_group",
        "count_group_cached",
        "delete_group",
        "delete_group_cached",
        "fetch_group",
        "fetch_group_cached",
        "result_group",
        "result_group_cached",
    ),
    "django_q.tasks.iterables": ("Iter", "async_iter"),
    "django_q.tasks.results": (
        "delete_cached",
        "fetch",
        "fetch_cached",
        "queue_size",
        "result",
        "result_cached",
    ),
    "django_q.tasks.schedules": ("schedule",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
