"""The figures of all clusters and of the results' table, summed up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import router
from django.db.models import Avg, Count, DurationField, ExpressionWrapper, F
from django.utils import timezone

from django_q.brokers import get_broker
from django_q.conf import logger, queue_names
from django_q.readiness import explain_database_errors
from django_q.status import Stat

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from django_q.brokers import Broker
    from django_q.models import Task

HOURS = 24
AVERAGED_TASKS = 10_000
"""The average is of so many at most: each costs the look-up of a row, 50 µs if memory is short."""
_PER_DAY = {"second": 24 * 60 * 60, "minute": 24 * 60, "hour": 24}


@dataclass(frozen=True)
class Overview:
    """What `qinfo` shows, and the admin's panel."""

    clusters: int
    workers: int
    restarts: int
    queued: int
    """Packages that wait in the queues that the settings name."""
    successes: int
    failures: int
    schedules: int
    tasks_per_day: float
    """Successes that ended within the last 24 hours; `rate()` says it in a unit that suits it."""
    average_seconds: float | None
    """From queueing to end, of the latest of these; None where there are none."""

    def rate(self) -> tuple[float, str]:
        """Tasks per second, minute, hour or day: by the shortest of which there was more than
        one."""
        for unit, of_a_day in _PER_DAY.items():
            if self.tasks_per_day > of_a_day:
                return self.tasks_per_day / of_a_day, unit
        return self.tasks_per_day, "day"


def gather(stats: Sequence[Stat] | None = None, broker: Broker | None = None) -> Overview:
    """Sum up the clusters, the queues and the tables, by four statements and what brokers need.

    With a `broker`, only its own queue is counted. What is away raises as it does elsewhere:
    BrokerUnavailable, a ConfigurationError for missing tables, Django's errors of databases.
    """
    stats = Stat.get_all(broker) if stats is None else stats
    queues = [broker] if broker else map(get_broker, queue_names())
    return Overview(
        clusters=len(stats),
        workers=sum(len(stat.workers) for stat in stats),
        restarts=sum(stat.reincarnations for stat in stats),
        queued=_total(queues),
        **_of_the_tables(),
    )


def queue_sizes() -> dict[str, int | None]:
    """How many packages wait in each queue that the settings name; None: that cannot be known.

    Why not is in the log, at level DEBUG, since a page that shows it may be asked for every second.
    """
    return {name: _size_of(name) for name in queue_names()}


def _size_of(name: str) -> int | None:
    try:
        return get_broker(name).queue_size()
    except Exception as error:  # every client library has its own
        logger.debug("The queue %r cannot be counted: %s: %s", name, type(error).__name__, error)
        return None


def _total(queues: Iterable[Broker]) -> int:
    # A broker of 1.x may answer None where it cannot count.
    return sum(queue.queue_size() or 0 for queue in queues)


def _of_the_tables() -> dict[str, Any]:
    from django_q.models import Schedule, Task  # needs the app registry

    with explain_database_errors(router.db_for_read(Task)):
        # Of no column: the index on `success` answers, and no row is looked at.
        counts = dict(Task.objects.order_by().values_list("success").annotate(finished=Count("*")))
        recent = Task.objects.filter(
            # Django writes `success=True` as a bare column, for which SQLite uses no index.
            success__in=[True],
            stopped__gte=timezone.now() - timedelta(hours=HOURS),
        )
        finished, average = recent.order_by().count(), _average(recent)
    with explain_database_errors(router.db_for_read(Schedule)):
        schedules = Schedule.objects.count()
    return {
        "successes": counts.get(True, 0),
        "failures": counts.get(False, 0),
        "schedules": schedules,
        "tasks_per_day": float(finished),
        "average_seconds": average,
    }


def _average(tasks: QuerySet[Task]) -> float | None:
    """Seconds from queueing to end. No index has both, so not of millions of rows."""
    took = ExpressionWrapper(F("stopped") - F("started"), DurationField())
    latest = tasks.values(took=took).order_by("-stopped")[:AVERAGED_TASKS]
    average: timedelta | None = latest.aggregate(average=Avg("took"))["average"]
    return None if average is None else average.total_seconds()
