"""Queues each occurrence of each schedule once, whoever dies in between.

One UPDATE, which only one cluster wins, moves the row on and stores the occurrence with the id
of its task; then the task is queued; then what was stored is cleared. An occurrence that stays
stored is queued again under the same id, marked `check`, so that a worker passes over what is
already done. Where the broker's enqueue commits with the schedule's database, all of this is one
transaction and nothing needs to be stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing import current_process
from typing import Any, NamedTuple

from django.db import DataError, IntegrityError, router
from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from django_q import databases, scheduling
from django_q.brokers import Broker, get_broker
from django_q.conf import Settings, logger
from django_q.errors import ConfigurationError, TaskRefused, UnsupportedByBroker
from django_q.humanhash import humanize
from django_q.models import Schedule
from django_q.tasks import enqueue

ASK_SECONDS = 1.0
"""How often the table is asked what is due: a row saved elsewhere wakes nobody."""
RECOVER_SECONDS = 10.0
"""How long a stored occurrence is left to the cluster that stored it."""
BATCH = 50
"""How many rows one transaction moves: it shall hold up the results for milliseconds only."""
FAILURES_THAT_MEAN_AN_OUTAGE = 3
LOWEST_REPEATS = -(2**31)

ROWS_FAULT = (TaskRefused, UnsupportedByBroker, DataError, IntegrityError)


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
    """A schedule that cannot be queued as things are."""


class DueSchedules:
    """The schedules of one queue."""

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        stopping: Callable[[], bool],
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.stopping = stopping
        self.now = now
        self.clock = clock
        self.using = router.db_for_write(Schedule)
        self.ask_at = 0.0
        self.brokers = {settings.cluster_name: broker}
        self.first_seen: dict[tuple[int, str], float] = {}
        self.set_aside: set[int] = set()
        self.away: set[Broker] = set()

    def queue_all(self) -> None:
        """Queue what is due, and what was due and is stored; asks at most once a second."""
        if self.clock() < self.ask_at:
            return
        self.ask_at = self.clock() + ASK_SECONDS
        earliest, stored = databases.insist(self._ask)
        failures: list[Exception] = []
        if stored or self.first_seen:
            self._each(self._rows_left_behind(), self.queue_again, failures)
        if earliest is not None:
            self._queue_from(earliest, failures)
        for broker in tuple(self.away):
            # What was stored for it waits: without a look there would seem to be no outage.
            self._see_whether_it_is_back(broker)
        if failures:
            raise failures[0]

    def rows_due(self) -> list[Schedule]:
        """The rows that are due, the oldest first."""
        rows = self._rows().filter(_runnable(), next_run__lte=self.now())
        return databases.insist(lambda: list(rows.order_by("next_run", "pk")[:BATCH]))

    def queue_together(self, rows: list[Schedule]) -> bool:
        """Queue what these rows have come to, in one transaction; True if any moved."""
        occurrences = [found for row in rows if (found := self._next(row)) is not None]
        for broker in {occurrence.broker for occurrence in occurrences}:
            self._see_whether_it_is_back(broker)
        won = databases.transact(
            self.using, lambda: [each for each in occurrences if self._take(each)]
        )
        stored = [each for each in won if not self._commits(each)]
        self.first_seen |= {(each.row.pk, each.task_id): self.clock() for each in stored}
        for each in won:
            if self._commits(each):
                _log(each)
        self.deliver(stored)
        return bool(won) or len(occurrences) < len(rows)

    def queue(self, row: Schedule) -> bool:
        """Queue what one row has come to; a row that the database refuses is marked."""
        try:
            return self.queue_together([row])
        except ROWS_FAULT as error:
            return self._mark(row, error)

    def deliver(self, occurrences: list[Occurrence]) -> None:
        """Queue what is stored, and clear it."""
        queued: list[Occurrence] = []
        try:
            for occurrence in occurrences:
                try:
                    self._put(occurrence)
                except ROWS_FAULT as error:
                    self._mark(occurrence.row, error)
                else:
                    queued.append(occurrence)
                    _log(occurrence)
        finally:
            if queued:
                databases.transact(self.using, lambda: [self._settle(each) for each in queued])

    def plan(self, row: Schedule, due: Any, task_id: str, *, check: bool = False) -> Occurrence:
        """All that can fail by the row's own fault, before anything is changed."""
        try:
            task = self._task(row, due, task_id)
        except Exception as error:
            raise Unusable(str(error)) from error
        try:
            broker = self._broker(task.get("cluster"))
        except ConfigurationError as error:
            # Nothing is wrong with the row: it waits for the next start, when all may be there.
            self.set_aside.add(row.pk)
            raise Unusable(str(error)) from error
        after = {} if check else self._values_after(row)
        if check:
            task["check"] = True
        package = enqueue.finish(task, self.settings)
        return Occurrence(row, due, task_id, task["name"], package, broker, after)

    # What is asked

    def _ask(self) -> tuple[datetime | None, int]:
        """When the first row is due, and how many occurrences are stored: one query."""
        facts = self._rows().aggregate(
            earliest=Min("next_run", filter=_runnable()),
            stored=Count("pk", filter=Q(occurrence_task__isnull=False)),
        )
        return facts["earliest"], facts["stored"]

    def _rows(self) -> QuerySet[Schedule]:
        """The rows of this queue that nothing is wrong with."""
        mine = Q(cluster=self.settings.cluster_name)
        if self.settings.cluster_name == self.settings.name:
            mine |= Q(cluster__isnull=True) | Q(cluster="")
        rows = Schedule.objects.using(self.using).filter(mine, error__isnull=True)
        return rows.exclude(pk__in=self.set_aside) if self.set_aside else rows

    # What is due

    def _queue_from(self, earliest: datetime, failures: list[Exception]) -> None:
        """Queue a batch if the first row is due, and else look again when it will be."""
        ahead = (earliest - self.now()).total_seconds()
        if ahead > 0:
            self.ask_at = min(self.ask_at, self.clock() + ahead)
        elif self._queue_batch(self.rows_due(), failures):
            self.ask_at = self.clock()  # there may be more

    def _queue_batch(self, rows: list[Schedule], failures: list[Exception]) -> bool:
        """All at once; one by one where that fails, so that each failure costs its row alone."""
        try:
            return self.queue_together(rows)
        except Exception as error:
            if databases.is_connection_error(error) or databases.is_busy(error):
                raise
            return self._each(rows, self.queue, failures)

    def _each(
        self, rows: list[Schedule], work: Callable[[Schedule], bool], failures: list[Exception]
    ) -> bool:
        """Each row on its own, until it is plain that none would fare better; True if any did."""
        moved, in_a_row = False, 0
        for row in rows:
            if self.stopping() or in_a_row == FAILURES_THAT_MEAN_AN_OUTAGE:
                break
            try:
                moved = work(row) or moved
                in_a_row = 0
            except Exception as error:
                failures.append(error)
                in_a_row += 1
        return moved

    def _next(self, row: Schedule) -> Occurrence | None:
        """What the row has come to, or None for a row that is marked now."""
        try:
            return self.plan(row, row.next_run, _task_id(row))
        except (Unusable, *ROWS_FAULT) as error:
            self._mark(row, error)
            return None

    def _commits(self, occurrence: Occurrence) -> bool:
        return occurrence.broker.commits_with(self.using)

    def _take(self, occurrence: Occurrence) -> bool:
        """Move the row on, in the caller's transaction; False if another cluster was faster."""
        if self._commits(occurrence):
            return self._queue_at_once(occurrence)
        return self.advance(occurrence)

    def _queue_at_once(self, occurrence: Occurrence) -> bool:
        row = occurrence.row
        # Kept as the occurrence before the next, whose wall-clock time it tells.
        values = {"task": occurrence.task_id, "occurrence": occurrence.due}
        if not self._move(row, occurrence.after | values):
            return False
        self._put(occurrence)
        if _is_deleted_after(row):
            Schedule.objects.using(self.using).filter(pk=row.pk).delete()
        return True

    def advance(self, occurrence: Occurrence) -> bool:
        """Move the row on and store the occurrence; False if another cluster was faster."""
        # A row without a next run is due no more, and can still be told to be deleted.
        after = {"next_run": None} if _is_deleted_after(occurrence.row) else occurrence.after
        values = {
            "task": occurrence.task_id,
            "occurrence": occurrence.due,
            "occurrence_task": occurrence.task_id,
        }
        return self._move(occurrence.row, after | values)

    def _move(self, row: Schedule, values: dict[str, Any]) -> bool:
        """Change a row if it still is what it was: compare and set."""
        unchanged = Schedule.objects.using(self.using).filter(
            pk=row.pk,
            next_run=row.next_run,
            repeats=row.repeats,
            occurrence_task__isnull=True,
            error__isnull=True,
        )
        return unchanged.update(**values) == 1

    def _values_after(self, row: Schedule) -> dict[str, Any]:
        """What the row says once its occurrence is queued."""
        following = self._following(row)
        if following is None:
            return {"repeats": 0}
        return {"next_run": following, "repeats": max(row.repeats - 1, LOWEST_REPEATS)}

    def _following(self, row: Schedule) -> datetime | None:
        assert row.next_run is not None
        catch_up = self.settings.catch_up if row.catch_up is None else row.catch_up
        try:
            return scheduling.next_run(
                row.schedule_type,
                row.next_run,
                minutes=row.minutes,
                cron=row.cron,
                zone=self.settings.time_zone,
                now=self.now(),
                catch_up=catch_up,
                previous=row.occurrence,
            )
        except ConfigurationError as error:
            self.set_aside.add(row.pk)
            raise Unusable(str(error)) from error
        except (ValueError, OverflowError) as error:
            raise Unusable(str(error)) from error

    # What is stored

    def queue_again(self, row: Schedule) -> bool:
        """Queue an occurrence whose cluster stored it and died; False if another was faster."""
        try:
            occurrence = self.plan(row, row.occurrence, row.occurrence_task or "", check=True)
            self.away.add(occurrence.broker)
            self._see_whether_it_is_back(occurrence.broker)
            return self._recover(occurrence)
        except (Unusable, *ROWS_FAULT) as error:
            return self._mark(row, error)

    def _rows_left_behind(self) -> list[Schedule]:
        """The rows that have stored the same occurrence for too long."""
        rows = self._rows().filter(occurrence_task__isnull=False)
        stored = databases.insist(lambda: {_stored(row): row for row in rows})
        now = self.clock()
        self.first_seen = {key: self.first_seen.get(key, now) for key in stored}
        return [row for key, row in stored.items() if now - self.first_seen[key] >= RECOVER_SECONDS]

    def _recover(self, occurrence: Occurrence) -> bool:
        """Clear and queue in one transaction, so that no two clusters do it.

        Only here is a broker called while a row is locked: it has just answered.
        """
        put = False

        def work() -> bool:
            nonlocal put
            if not self._settle(occurrence):
                return False
            if not put or occurrence.broker.commits_with(self.using):
                self._put(occurrence)
                put = True
            return True

        if not databases.transact(self.using, work):
            return False
        _log(occurrence)
        return True

    def _settle(self, occurrence: Occurrence) -> bool:
        """Clear the stored occurrence, and with it a row that has run its only time."""
        stored = Schedule.objects.using(self.using).filter(
            pk=occurrence.row.pk, occurrence_task=occurrence.task_id
        )
        if not stored.update(occurrence_task=None):
            return False
        if _is_deleted_after(occurrence.row):
            spent = Schedule.objects.using(self.using).filter(
                pk=occurrence.row.pk, next_run__isnull=True
            )
            spent.delete()
        return True

    # The task

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

    def _put(self, occurrence: Occurrence) -> None:
        try:
            enqueue.put(occurrence.broker, occurrence.package)
        except Exception:
            self.away.add(occurrence.broker)
            raise

    def _see_whether_it_is_back(self, broker: Broker) -> None:
        """Nothing more is stored for a broker that failed, until it answers."""
        if broker in self.away and not broker.ping():
            raise ConnectionError(f"{broker.info()} does not answer")
        self.away.discard(broker)

    def _mark(self, row: Schedule, error: Exception) -> bool:
        """Keep the reason in the row, which is left alone until somebody edits it."""
        if row.pk in self.set_aside:
            logger.error("Schedule [%s] waits: %s", row.name or row.pk, error)
            return False
        same = Schedule.objects.using(self.using).filter(pk=row.pk, error__isnull=True)
        text = str(error) or type(error).__name__
        marked = databases.transact(self.using, lambda: same.update(error=text))
        if marked:
            logger.error("Schedule [%s] is paused until it is edited: %s", row.name or row.pk, text)
        return bool(marked)


def _log(occurrence: Occurrence) -> None:
    logger.info(
        "%s created task %s from schedule [%s]",
        current_process().name,
        occurrence.task_name,
        occurrence.row.name or occurrence.row.pk,
    )


def _runnable() -> Q:
    return Q(next_run__isnull=False, occurrence_task__isnull=True) & ~Q(repeats=0)


def _is_deleted_after(row: Schedule) -> bool:
    """A ONCE schedule with negative repeats leaves nothing behind."""
    return row.schedule_type == Schedule.ONCE and row.repeats < 0


def _name_of_queue(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"q_options: cluster must be the name of a queue, not {value!r}.")
    return value


def _stored(row: Schedule) -> tuple[int, str]:
    return row.pk, row.occurrence_task or ""


def _task_id(row: Schedule) -> str:
    """The same in every cluster, and another when a row is set back to run a second time."""
    due = row.next_run
    if due is not None and timezone.is_aware(due):
        due = due.astimezone(UTC)
    return hashlib.sha256(f"{row.pk} {due} {row.task}".encode()).hexdigest()[:32]
