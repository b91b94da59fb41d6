"""Queues each occurrence of each schedule once, whoever dies in between.

One transaction, in which only one cluster has a row, moves the rows on and stores in each the
occurrence with the id of its task; then the tasks are queued; then what was stored is cleared. An
occurrence that stays stored is queued again under the same id, marked `check`, so that a worker
passes over what is already done. Where the broker's enqueue commits with the schedule's database,
all of this is one transaction and nothing needs to be stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing import current_process

from django.db import DataError, IntegrityError
from django.utils import timezone

from django_q import databases
from django_q.brokers import Broker
from django_q.cluster.planning import NotHere, Occurrence, Planner, Unusable
from django_q.cluster.schedule_table import ScheduleTable
from django_q.conf import Settings, logger
from django_q.errors import EnqueueError, TaskRefused, UnsupportedByBroker
from django_q.models import Schedule
from django_q.tasks import enqueue

ASK_SECONDS = 1.0
"""How often the whole table is asked what is due: a row saved elsewhere wakes nobody."""
RECOVER_SECONDS = 10.0
"""How long a stored occurrence is left to the cluster that stored it."""
LEFT_SECONDS = 0.05
"""How soon what was left to another cluster is looked at again."""
BATCH = 50
"""How many rows one transaction moves: it shall hold up the results for milliseconds only."""
FAILURES_THAT_MEAN_AN_OUTAGE = 3

ROWS_FAULT = (TaskRefused, UnsupportedByBroker, DataError, IntegrityError)


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
        self.stopping = stopping
        self.now = now
        self.clock = clock
        self.table = ScheduleTable(settings)
        self.ask_at = 0.0
        self.survey_at = 0.0
        self.left_to_others = 0
        self.plan = Planner(settings, broker, now).plan
        self.first_seen: dict[tuple[int, str], float] = {}
        self.away: set[Broker] = set()

    def queue_all(self) -> None:
        """Queue a batch of what is due, and what was due and is stored."""
        if self.clock() < self.ask_at:
            return
        failures: list[Exception] = []
        if self.clock() >= self.survey_at:
            is_due = self._survey(failures)
        else:
            is_due, self.ask_at = True, self.survey_at
        if is_due:
            self._queue_oldest(failures)
        for broker in tuple(self.away):
            # What was stored for it waits: without a look there would seem to be no outage.
            self._see_whether_it_is_back(broker)
        if failures:
            raise failures[0]

    def rows_due(self) -> list[Schedule]:
        """A batch of the rows that are due, the oldest first; when none is, look when one will be.

        Those that another cluster is at are left to it.
        """
        rows = self.table.oldest(self.left_to_others, BATCH)
        now = self.now()
        due = [row for row in rows if row.next_run is not None and row.next_run <= now]
        if not due and self.left_to_others:
            # Left by all for one another, perhaps; not at once, for somebody may be at it.
            self.left_to_others = 0
            self.ask_at = min(self.ask_at, self.clock() + LEFT_SECONDS)
        elif not due:
            self._look_again_at(rows[0].next_run if rows else None)
        return due

    def queue_together(self, rows: list[Schedule]) -> bool:
        """Queue what these rows have come to, in one transaction; True if any moved."""
        occurrences = [found for row in rows if (found := self._next(row)) is not None]
        for broker in _brokers_of(occurrences):
            self._see_whether_it_is_back(broker)
        at_once = [each for each in occurrences if self._commits(each)]
        in_two_steps = [each for each in occurrences if not self._commits(each)]
        queued = self.table.transact(lambda: self._queue_at_once(at_once)) if at_once else []
        for each in queued:
            _log(each)
        stored = self.advance(in_two_steps)
        self.deliver(stored)
        return bool(queued or stored) or len(occurrences) < len(rows)

    def queue(self, row: Schedule) -> bool:
        """Queue what one row has come to; a row that the database refuses is marked."""
        try:
            return self.queue_together([row])
        except ROWS_FAULT as error:
            return self._mark(row, error)

    def advance(self, occurrences: list[Occurrence]) -> list[Occurrence]:
        """Move rows on and store what they have come to; those that no cluster was faster at."""
        if not occurrences:
            return []
        stored: list[Occurrence] = self.table.transact(lambda: self._store(occurrences))
        self.first_seen |= {(each.row.pk, each.task_id): self.clock() for each in stored}
        return stored

    def deliver(self, occurrences: list[Occurrence]) -> None:
        """Queue what is stored, and clear it."""
        queued: list[Occurrence] = []
        try:
            for broker in _brokers_of(occurrences):
                for each in self._put_all([one for one in occurrences if one.broker is broker]):
                    queued.append(each)
                    _log(each)
        finally:
            if queued:
                self.table.transact(lambda: self.table.settle(queued))

    # What is due

    def _survey(self, failures: list[Exception]) -> bool:
        """Look at the whole table, and recover what is left behind; True if a row is due."""
        self.ask_at = self.survey_at = self.clock() + ASK_SECONDS
        earliest, stored = self.table.survey()
        if stored or self.first_seen:
            self._each(self._rows_left_behind(), self.queue_again, failures)
        return self._look_again_at(earliest)

    def _look_again_at(self, due: datetime | None) -> bool:
        """Look as soon as a row is due that is the next one; True if it is due now."""
        if due is None:
            return False
        ahead = (due - self.now()).total_seconds()
        self.ask_at = min(self.ask_at, self.clock() + max(ahead, 0.0))
        return ahead <= 0

    def _queue_oldest(self, failures: list[Exception]) -> None:
        rows = self.rows_due()
        if not rows:
            return
        if not self._queue_batch(rows, failures):
            if failures:
                self.ask_at = self.survey_at
                return
            # Another cluster is at these: what comes after them is for this one.
            self.left_to_others += len(rows)
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
        return occurrence.broker.commits_with(self.table.using)

    def _queue_at_once(self, occurrences: list[Occurrence]) -> list[Occurrence]:
        taken = self.table.take(occurrences)
        if taken:
            self.table.advance(taken)
        for broker in _brokers_of(taken):
            self._put(broker, [each.package for each in taken if each.broker is broker])
        return taken

    def _store(self, occurrences: list[Occurrence]) -> list[Occurrence]:
        taken = self.table.take(occurrences)
        if taken:
            self.table.store(taken)
        return taken

    # What is stored

    def queue_again(self, row: Schedule) -> bool:
        """Queue an occurrence whose cluster stored it and died; False if another was faster."""
        try:
            occurrence = self.plan(row, row.occurrence, row.occurrence_task or "", is_again=True)
            self.away.add(occurrence.broker)
            self._see_whether_it_is_back(occurrence.broker)
            return self._recover(occurrence)
        except (Unusable, *ROWS_FAULT) as error:
            return self._mark(row, error)

    def _rows_left_behind(self) -> list[Schedule]:
        """The rows that have stored the same occurrence for too long."""
        stored = {_stored(row): row for row in self.table.with_stored_occurrence()}
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
            if not self.table.settle([occurrence]):
                return False
            if not put or self._commits(occurrence):
                self._put(occurrence.broker, [occurrence.package])
                put = True
            return True

        if not self.table.transact(work):
            return False
        _log(occurrence)
        return True

    # Queueing

    def _put_all(self, occurrences: list[Occurrence]) -> Iterator[Occurrence]:
        """Give occurrences to their broker, in one call, and yield those that it has taken.

        One that is refused is marked, and costs no other its place.
        """
        left = occurrences
        try:
            self._put(left[0].broker, [each.package for each in left])
        except EnqueueError as error:
            yield from left[: len(error.accepted)]
            if not isinstance(error.__cause__, ROWS_FAULT):
                raise
            left = left[len(error.accepted) :]
        except ROWS_FAULT:
            pass
        else:
            yield from left
            return
        for each in left:
            try:
                self._put(each.broker, [each.package])
            except ROWS_FAULT as error:
                self._mark(each.row, error)
            else:
                yield each

    def _put(self, broker: Broker, packages: list[str]) -> None:
        try:
            if len(packages) == 1:
                enqueue.put(broker, packages[0])
            else:
                enqueue.put_many(broker, packages)
        except Exception:
            self.away.add(broker)
            raise

    def _see_whether_it_is_back(self, broker: Broker) -> None:
        """Nothing more is stored for a broker that failed, until it answers."""
        if broker in self.away and not broker.ping():
            raise ConnectionError(f"{broker.info()} does not answer")
        self.away.discard(broker)

    def _mark(self, row: Schedule, error: Exception) -> bool:
        """Keep the reason in the row, which is left alone until somebody edits it."""
        if isinstance(error, NotHere):
            self.table.set_aside.add(row.pk)
            logger.error("Schedule [%s] waits: %s", row.name or row.pk, error)
            return False
        text = str(error) or type(error).__name__
        marked = self.table.mark(row, text)
        if marked:
            logger.error("Schedule [%s] is paused until it is edited: %s", row.name or row.pk, text)
        return marked


def _brokers_of(occurrences: list[Occurrence]) -> list[Broker]:
    return list(dict.fromkeys(occurrence.broker for occurrence in occurrences))


def _log(occurrence: Occurrence) -> None:
    logger.info(
        "%s created task %s from schedule [%s]",
        current_process().name,
        occurrence.task_name,
        occurrence.row.name or occurrence.row.pk,
    )


def _stored(row: Schedule) -> tuple[int, str]:
    return row.pk, row.occurrence_task or ""


def _task_id(row: Schedule) -> str:
    """The same in every cluster, and another when a row is set back to run a second time."""
    due = row.next_run
    if due is not None and timezone.is_aware(due):
        due = due.astimezone(UTC)
    return hashlib.sha256(f"{row.pk} {due} {row.task}".encode()).hexdigest()[:32]
