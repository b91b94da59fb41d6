"""What is recorded of a task already, asked where a decision hangs on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import router

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from django_q.models import IterItem, Task


def database() -> str:
    """The alias that results are written to, and read from where a write hangs on it.

    A replica may lag behind, so it must not be asked.
    """
    from django_q.models import Task  # needs the app registry

    return router.db_for_write(Task)


def recorded_success(task_id: str, using: str | None = None) -> bool:
    """Is a success of this task recorded, as a Task or as a finished item?"""
    return (
        _tasks(using).filter(pk=task_id, success=True).exists()
        or _items(using).filter(pk=task_id, success=True).exists()
    )


def stored_task(task_id: str, using: str | None = None) -> Task | None:
    """The Task as it is recorded; None where nothing is, or no longer."""
    return _tasks(using).filter(pk=task_id).first()


def attempt_count(task_id: str, using: str | None = None) -> int:
    """How many attempts at this task are recorded."""
    return _tasks(using).filter(pk=task_id).values_list("attempt_count", flat=True).first() or 0


def worker_deaths(task_id: str, using: str | None = None) -> int:
    """How many workers are recorded to have died of this task."""
    return _tasks(using).filter(pk=task_id).values_list("worker_deaths", flat=True).first() or 0


def _tasks(using: str | None) -> QuerySet[Task]:
    from django_q.models import Task

    return Task.objects.using(using or database()).order_by()


def _items(using: str | None) -> QuerySet[IterItem]:
    from django_q.models import IterItem

    return IterItem.objects.using(using or database()).order_by()
