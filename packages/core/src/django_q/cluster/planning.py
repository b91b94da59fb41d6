"""Plans the next occurrence of a schedule: its task, its queue, and what the row says after it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from django_q import scheduling
from django_q.brokers import Broker, get_broker
from django_q.conf import Settings, logger
from django_q.errors import ConfigurationError
from django_q.humanhash import humanize
from django_q.models import Schedule
from django_q.tasks import enqueue

LOWEST_REPEATS = -(2**31)


class Occurrence(NamedTuple):
    """One run of a schedule, ready to be queued."""

    row: Schedule
    due: datetime
    task_id: str
    task_name: str
    package: str
    broker: Broker
    after: dict[str, Any]
    """What the row says once this is queued."""


class Unusable(Exception):
    """A schedule that cannot be queued as it is."""


class NotHere(Unusable):
    """Nothing is wrong with the schedule: it waits for a cluster that has what it needs."""


class Missed(NamedTuple):
    """What a look at a schedule that is late by more than one occurrence has shown."""

    seen_at: datetime
    first_kept: datetime


class Planner:
    """Plans for one queue; `broker` is that queue's, others are made when they are named."""

    def __init__(self, settings: Settings, broker: Broker, now: Callable[[], datetime]) -> None:
        self.settings = settings
        self.now = now
        self.brokers = {settings.cluster_name: broker}
        self.missed: dict[int, Missed] = {}

    def plan(self, row: Schedule, due: Any, task_id: str, *, is_again: bool = False) -> Occurrence:
        """All that can fail by the row's own fault, before anything is changed.

        An occurrence that is queued again carries `check`, and moves the row no further. Of more
        missed ones than `catch_up_limit`, the oldest are passed over: what comes back is due
        later then, and has another id. Raises Unusable.
        """
        after: dict[str, Any] = {}
        if not is_again:
            kept, following = self._kept(row, due)
            after = _values_after(row, following)
            if kept != due:
                due, task_id = kept, _id_instead(task_id, kept)
        return self._occurrence(row, due, task_id, after, is_again)

    def plan_extra(self, row: Schedule, task_id: str) -> Occurrence:
        """A run at once, beside those that are due, which stay as they are. Raises Unusable."""
        return self._occurrence(row, self.now(), task_id, {"task": task_id}, False)

    # When

    def _kept(self, row: Schedule, due: datetime) -> tuple[datetime, datetime | None]:
        """The occurrence to run now, `due` or a later one, and the one that follows it."""
        now = self.now()
        catch_up = self.settings.catch_up if row.catch_up is None else row.catch_up
        try:
            following = _following(row, due, self.settings, now, catch_up=catch_up)
            if following is None or following > now:
                self.missed.pop(row.pk, None)
                return due, following
            kept = self._first_kept(row, due, now)
            if kept <= due:
                return due, following
            return kept, _following(row, kept, self.settings, now, catch_up=True)
        except ConfigurationError as error:
            raise NotHere(str(error)) from error
        except (ValueError, OverflowError) as error:
            raise Unusable(str(error)) from error

    def _first_kept(self, row: Schedule, due: datetime, now: datetime) -> datetime:
        """The earliest missed occurrence that is to run; looked for once in each backlog."""
        seen = self.missed.get(row.pk)
        if seen is not None and due <= seen.seen_at:
            return seen.first_kept
        limit = self.settings.catch_up_limit
        kept = due
        if not 0 < row.repeats <= limit:

            def after(moment: datetime) -> datetime | None:
                return _following(row, due, self.settings, moment, catch_up=False)

            kept = scheduling.first_kept(after, due, now, limit)
        self.missed[row.pk] = Missed(now, kept)
        if kept > due:
            logger.warning(
                "Schedule [%s] has missed more than %s occurrences (catch_up_limit) since %s; "
                "the latest %s are run, from %s on",
                row.name or row.pk, limit, due.isoformat(), limit, kept.isoformat(),
            )  # fmt: skip
        return kept

    # The task

    def _occurrence(
        self, row: Schedule, due: datetime, task_id: str, after: dict[str, Any], is_again: bool
    ) -> Occurrence:
        try:
            task = self._task(row, due, task_id)
        except Exception as error:
            raise Unusable(str(error)) from error
        try:
            broker = self._broker(task.get("cluster"))
        except ConfigurationError as error:
            raise NotHere(str(error)) from error
        if is_again:
            task["check"] = True
        package = enqueue.finish(task, self.settings)
        return Occurrence(row, due, task_id, task["name"], package, broker, after)

    def _task(self, row: Schedule, due: datetime, task_id: str) -> dict[str, Any]:
        args, kwargs, options = scheduling.arguments(row)
        if row.intended_date_kwarg:
            kwargs[row.intended_date_kwarg] = due.isoformat()
        if row.hook:
            options["hook"] = row.hook
        asked_for = options.pop("broker_name", None)
        cluster = row.cluster or options.pop("cluster", None) or self._known(row, asked_for)
        if cluster:
            options["cluster"] = _name_of_queue(cluster)
        options.setdefault("group", row.name or str(row.pk))
        is_named = "task_name" in options or "task_name" in kwargs
        task = enqueue.build(row.func, args, {**kwargs, "q_options": options}, self.settings)
        # Run in this very process, as `sync` would have it, it would hold up all others.
        task.pop("sync", None)
        task.pop("broker", None)
        task["id"] = task_id
        if not is_named:
            task["name"] = humanize(task_id)
        return task

    def _known(self, row: Schedule, queue: str | None) -> str | None:
        """The old `broker_name`, or None, this queue, where there is none of that name."""
        if queue is None or queue in {*self.brokers, *self.settings.alt_clusters}:
            return queue
        logger.warning(
            "Schedule [%s] names the queue %r, which is not among ALT_CLUSTERS; it goes to %r",
            row.name or row.pk, queue, self.settings.cluster_name,
        )  # fmt: skip
        return None

    def _broker(self, queue: str | None) -> Broker:
        queue = queue or self.settings.cluster_name
        if queue not in self.brokers:
            self.brokers[queue] = get_broker(queue)
        return self.brokers[queue]


def next_run_after_pause(row: Schedule, settings: Settings, now: datetime) -> datetime | None:
    """The first occurrence from now on, or None to leave the row's next run as it is.

    Those of the pause were not missed, so none is caught up. What runs once is still to run.
    """
    if row.next_run is None or row.next_run > now:
        return None
    try:
        return _following(row, row.next_run, settings, now, catch_up=False)
    except (ConfigurationError, ValueError, OverflowError):
        return None  # The scheduler will keep the reason in the row.


def _name_of_queue(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"q_options: cluster must be the name of a queue, not {value!r}.")
    return value


def _following(
    row: Schedule, due: datetime, settings: Settings, now: datetime, *, catch_up: bool
) -> datetime | None:
    return scheduling.next_run(
        row.schedule_type,
        due,
        minutes=row.minutes,
        seconds=row.seconds,
        cron=row.cron,
        zone=settings.time_zone,
        now=now,
        catch_up=catch_up,
        previous=row.occurrence,
    )


def _values_after(row: Schedule, following: datetime | None) -> dict[str, Any]:
    if following is None:
        return {"repeats": 0}
    return {"next_run": following, "repeats": max(row.repeats - 1, LOWEST_REPEATS)}


def _id_instead(task_id: str, kept: datetime) -> str:
    """The id of an occurrence that is run in place of an older one: the same in every cluster."""
    return hashlib.sha256(f"{task_id} {kept}".encode()).hexdigest()[: len(task_id)]
