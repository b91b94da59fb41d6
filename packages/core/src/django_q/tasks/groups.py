"""Reads, counts and deletes the results of tasks that share a group label."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django_q import records
from django_q.brokers import Broker
from django_q.readiness import explain_database_errors
from django_q.signing import SignedPackage
from django_q.tasks.results import as_task, cache_and_key, is_cached, stored_tasks
from django_q.tasks.waiting import until

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from django_q.models import Task

T = TypeVar("T")
Rows = TypeVar("Rows", bound="QuerySet[Any, Any]")


def result_group(
    group_id: str,
    failures: bool = False,
    wait: float = 0,
    count: int | None = None,
    cached: bool | int | None = None,
) -> Any:
    """The results of a group's tasks, with `failures` those of failed ones too; None: none yet.

    Waits up to `wait` milliseconds (-1: for ever) for a first result or, given `count`, for so
    many tasks to have finished; with a count and no `wait` it waits until they have.
    """
    if is_cached(cached):
        return result_group_cached(group_id, failures, wait, count)
    results = _wait_for_group(
        lambda: _if_any(_group(group_id, failures).values_list("result", flat=True)),
        lambda: _count(group_id, False),
        wait,
        count,
    )
    return None if results is None else list(results)


def fetch_group(
    group_id: str,
    failures: bool = True,
    wait: float = 0,
    count: int | None = None,
    cached: bool | int | None = None,
) -> Any:
    """The finished Tasks of a group, as a queryset; without `failures` the successful ones.

    Waits like `result_group`. None: none yet. From the cache they come as a list.
    """
    if is_cached(cached):
        return fetch_group_cached(group_id, failures, wait, count)
    return _wait_for_group(
        lambda: _if_any(_group(group_id, failures)),
        lambda: _count(group_id, False),
        wait,
        count,
    )


def count_group(
    group_id: str, failures: bool = False, cached: bool | int | None = None
) -> int | None:
    """How many tasks of a group have finished or, with `failures`, have failed."""
    if is_cached(cached):
        return count_group_cached(group_id, failures)
    return _count(group_id, failures)


def delete_group(group_id: str, tasks: bool = False, cached: bool | int | None = None) -> Any:
    """Take the group's label off its tasks or, with `tasks`, delete them."""
    if is_cached(cached):
        return delete_group_cached(group_id)
    from django_q.models import Task  # models need the app registry, this module does not

    return Task.delete_group(group_id, tasks)


def result_group_cached(
    group_id: str,
    failures: bool = False,
    wait: float = 0,
    count: int | None = None,
    broker: Broker | None = None,
) -> list[Any] | None:
    """The results of a group that are kept in the cache; waits like `result_group`."""
    tasks = _wait_for_cached_group(group_id, wait, count, broker)
    if tasks is None:
        return None
    return [task["result"] for task in tasks if failures or task["success"]]


def fetch_group_cached(
    group_id: str,
    failures: bool = True,
    wait: float = 0,
    count: int | None = None,
    broker: Broker | None = None,
) -> list[Task] | None:
    """The finished Tasks of a group that are kept in the cache; waits like `result_group`."""
    tasks = _wait_for_cached_group(group_id, wait, count, broker)
    if tasks is None:
        return None
    return [as_task(task) for task in tasks if failures or task["success"]]


def count_group_cached(
    group_id: str, failures: bool = False, broker: Broker | None = None
) -> int | None:
    """How many tasks of a cached group have finished, or failed; None: there is no such group."""
    cache, keys = _cached_keys(group_id, broker)
    if not keys:
        return None
    if not failures:
        return len(keys)
    return sum(1 for task in _cached_tasks(cache, keys) if not task["success"])


def delete_group_cached(group_id: str, broker: Broker | None = None) -> None:
    """Remove a group and the results of its tasks from the cache."""
    cache, list_key = cache_and_key(broker)
    records.cached_group_delete(cache, f"{list_key}:{group_id}:keys")


def tally(group_id: str, cached: bool | int | None = None) -> tuple[int, int]:
    """How many tasks of a group have finished, and how many of these failed; one query."""
    if is_cached(cached):
        tasks = _cached_tasks(*_cached_keys(group_id, None))
        return len(tasks), sum(1 for task in tasks if not task["success"])
    verdicts = stored_tasks().filter(group=group_id).values_list("success", flat=True)
    with explain_database_errors(verdicts.db):
        return len(verdicts), sum(1 for success in verdicts if not success)


# The database


def _group(group_id: str, failures: bool) -> QuerySet[Task]:
    tasks = stored_tasks().filter(group=group_id)
    return tasks if failures else tasks.filter(success=True)


def _count(group_id: str, failures: bool) -> int:
    tasks = stored_tasks().filter(group=group_id)
    with explain_database_errors(tasks.db):
        return (tasks.filter(success=False) if failures else tasks).count()


def _if_any(rows: Rows) -> Rows | None:
    """The rows, fetched; None where there are none."""
    with explain_database_errors(rows.db):
        return rows if rows else None


def _wait_for_group(
    read: Callable[[], T | None], counted: Callable[[], int | None], wait: float, count: int | None
) -> T | None:
    if not count:
        return until(read, wait)
    # As ever: a count without a wait means until it is reached.
    until(lambda: (counted() or 0) >= count or None, wait or -1)
    return read()


# The cache


def _cached_keys(group_id: str, broker: Broker | None) -> tuple[Any, list[str]]:
    cache, list_key = cache_and_key(broker)
    return cache, records.cached_group_keys(cache, f"{list_key}:{group_id}:keys")


def _cached_tasks(cache: Any, keys: list[str]) -> list[dict[str, Any]]:
    """The tasks that the cache still holds: any of them may have been evicted."""
    found = cache.get_many(keys)
    return [SignedPackage.loads(found[key]) for key in keys if key in found]


def _wait_for_cached_group(
    group_id: str, wait: float, count: int | None, broker: Broker | None
) -> list[dict[str, Any]] | None:
    def keys() -> list[str]:
        return _cached_keys(group_id, broker)[1]

    found = _wait_for_group(lambda: keys() or None, lambda: len(keys()), wait, count)
    return _cached_tasks(cache_and_key(broker)[0], found) if found else None
