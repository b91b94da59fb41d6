"""Reads what became of a task, from the database or the cache, and waits for it if asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.cache import caches
from django.db.models import Q, QuerySet

from django_q import records
from django_q.brokers import Broker, get_broker
from django_q.conf import get_settings
from django_q.readiness import explain_database_errors
from django_q.signing import SignedPackage
from django_q.tasks.waiting import until

if TYPE_CHECKING:
    from django_q.models import Task

ID_LENGTH = 32


def result(task_id: str | UUID, wait: float = 0, cached: bool | int | None = None) -> Any:
    """The result of a finished task, named by id or name; None while there is none.

    Waits up to `wait` milliseconds (-1: for ever). `cached` reads the cache instead of the
    database; by default as the settings say.
    """
    if is_cached(cached):
        return result_cached(task_id, wait)
    found = until(lambda: _first(tasks_named(task_id).values_list("result")), wait)
    return None if found is None else found[0]


def fetch(task_id: str | UUID, wait: float = 0, cached: bool | int | None = None) -> Task | None:
    """The finished Task, named by id or name; None while there is none. Waits like `result`."""
    if is_cached(cached):
        return fetch_cached(task_id, wait)
    task: Task | None = until(lambda: _first(tasks_named(task_id)), wait)
    return task


def result_cached(task_id: str | UUID, wait: float = 0, broker: Broker | None = None) -> Any:
    """The result that a task left in the cache."""
    task = _wait_for_cached(task_id, wait, broker)
    return None if task is None else task["result"]


def fetch_cached(task_id: str | UUID, wait: float = 0, broker: Broker | None = None) -> Task | None:
    """The finished Task that is kept in the cache; its `save()` puts it into the database."""
    task = _wait_for_cached(task_id, wait, broker)
    return None if task is None else as_task(task)


def delete_cached(task_id: str | UUID, broker: Broker | None = None) -> bool:
    """Remove a task from the cache; was it there?"""
    cache, list_key = cache_and_key(broker)
    return bool(cache.delete(f"{list_key}:{_text(task_id)}"))


def queue_size(broker: Broker | None = None) -> int:
    """How many tasks wait at the broker; those that run are not among them."""
    return (broker or get_broker()).queue_size()


# What groups and iterables read with, too


def stored_tasks() -> QuerySet[Task]:
    """Task rows where they are to be read: with `has_replica`, where they were written."""
    from django_q.models import Task  # models need the app registry, this module does not

    if get_settings().has_replica:
        return Task.objects.using(records.database())
    return Task.objects.all()


def tasks_named(task_id: str | UUID) -> QuerySet[Task]:
    """The tasks that an id or a name stands for, newest first."""
    named = _text(task_id)
    # A name may be as long as an id.
    either = Q(id=named) | Q(name=named) if len(named) == ID_LENGTH else Q(name=named)
    return stored_tasks().filter(either).order_by("-stopped")


def cache_and_key(broker: Broker | None) -> tuple[Any, str]:
    """The cache that holds results, and the queue's name that its keys begin with."""
    if broker is not None:
        return broker.cache, broker.list_key
    settings = get_settings()
    return caches[settings.cache], settings.cluster_name


def as_task(task: dict[str, Any]) -> Task:
    """An unsaved Task of what a worker left in the cache."""
    from django_q.models import Task

    return Task(
        id=task["id"],
        name=task["name"],
        func=task["func"],
        hook=task.get("hook"),
        args=task["args"],
        kwargs=task["kwargs"],
        cluster=task.get("cluster"),
        started=task["started"],
        stopped=task["stopped"],
        result=task["result"],
        group=task.get("group"),
        success=task["success"],
    )


def is_cached(cached: bool | int | None) -> bool:
    """Is the cache to be read? None: as the settings say."""
    return bool(get_settings().cached if cached is None else cached)


def _first(rows: QuerySet[Any, Any]) -> Any:
    with explain_database_errors(rows.db):
        return next(iter(rows[:1]), None)


def _wait_for_cached(
    task_id: str | UUID, wait: float, broker: Broker | None
) -> dict[str, Any] | None:
    cache, list_key = cache_and_key(broker)
    key = f"{list_key}:{_text(task_id)}"
    packed = until(lambda: cache.get(key), wait)
    if packed is None:
        return None
    task: dict[str, Any] = SignedPackage.loads(packed)
    return task


def _text(task_id: str | UUID) -> str:
    return task_id.hex if isinstance(task_id, UUID) else str(task_id)
