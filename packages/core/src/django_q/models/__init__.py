"""The tables: finished tasks, schedules, the ORM broker's queue, and the engine's small ledgers."""

from django_q.models.ledgers import ClusterStatus, IterItem
from django_q.models.queue import OrmQ
from django_q.models.schedules import Schedule, validate_cron, validate_kwarg
from django_q.models.tasks import (
    TASK_ID_LENGTH,
    Failure,
    FailureManager,
    Success,
    SuccessManager,
    Task,
)

__all__ = [
    "TASK_ID_LENGTH",
    "ClusterStatus",
    "Failure",
    "FailureManager",
    "IterItem",
    "OrmQ",
    "Schedule",
    "Success",
    "SuccessManager",
    "Task",
    "validate_cron",
    "validate_kwarg",
]
