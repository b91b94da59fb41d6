"""Says what became of a package whose worker, or whose monitors, can no longer say it."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from functools import partial

from django_q import records
from django_q.brokers.base import Delivery
from django_q.cluster.crew import Crew
from django_q.cluster.lane import Action, Lane, Reason, Report, Verdict
from django_q.cluster.patience import Patience
from django_q.cluster.settlement import after_failure, identify
from django_q.errors import DjangoQError
from django_q.tasks import execution

logger = logging.getLogger("django-q")

COMMIT_DEATHS = 2
"""A result in whose commit the monitor died this often is not tried again."""


class WorkerDied(DjangoQError):
    """The process that ran a task ended before the task did."""


class Coroner:
    """Writes the reports that the dead owe; it reads their packages without running anything."""

    def __init__(self, crew: Crew, patience: Patience) -> None:
        self.crew = crew
        self.patience = patience

    def of_dead_worker(self, lane: Lane) -> Report:
        """The report on the package that a worker had started when it died."""
        return self.or_leave(partial(self.autopsy, lane))

    def of_dead_monitors(self, lane: Lane, number: int) -> Report:
        """The report in place of one whose commit ended the monitor again and again."""
        return self.or_leave(partial(self.unrecordable, lane, number))

    def unrecordable(self, lane: Lane, number: int) -> Report:
        delivery = lane.delivery(number)
        task = identify(delivery.package)
        if task is None:
            return Report(Verdict.REJECTED, Action.ACKNOWLEDGE, 0)
        error = WorkerDied(
            f"The result could not be recorded: its monitor died {COMMIT_DEATHS} times over it"
        )
        result = execution.refuse(
            task, self.crew.settings, error, attempt=delivery.attempts + 1, first=False
        )
        return Report(Verdict.FINISHED, Action.ACKNOWLEDGE, 0, result.outcome, str(error))

    @staticmethod
    def or_leave(make: Callable[[], Report]) -> Report:
        """The report in a worker's stead; where it cannot be made the package is left to lapse,
        which is counted, so that it comes to an end. Raised, it would end one monitor after the
        other."""
        try:
            return make()
        except Exception:
            logger.exception("What became of a package cannot be told; it is presented again")
            return Report(Verdict.REJECTED, Action.FORGET, 0)

    def autopsy(self, lane: Lane) -> Report:
        delivery = lane.delivery(lane.started)
        task = identify(delivery.package)
        if task is None:
            return Report(Verdict.REJECTED, Action.ACKNOWLEDGE, 0)
        what = execution.description(task)
        is_bystander = lane.reason != Reason.NONE and lane.accused != lane.started
        if is_bystander or lane.reason == Reason.STOP:
            logger.warning("Interrupted %s: it is presented again", what)
            return Report(Verdict.DROPPED, Action.RELEASE, 0)
        cause = how_it_ended(lane)
        attempt = self.attempt(delivery, task["id"])
        result = execution.refuse(
            task, self.crew.settings, WorkerDied(cause), attempt=attempt, first=False
        )
        died = lane.reason == Reason.NONE
        outcome = result.outcome._replace(worker_death=died)
        if died and self.deaths(outcome) >= self.crew.settings.max_worker_deaths:
            return Report(Verdict.FINISHED, Action.ACKNOWLEDGE, 0, outcome, cause)
        action, delay = after_failure(
            attempt=attempt,
            ack_failure=bool(task.get("ack_failure")),
            settings=self.crew.settings,
            broker=self.crew.broker_class,
        )
        return Report(Verdict.FINISHED, action, delay, outcome, cause)

    def attempt(self, delivery: Delivery, task_id: str) -> int:
        """The number of the attempt that a dead worker was at."""
        if self.crew.broker_class.counts_attempts:
            return delivery.attempts + 1
        return 1 + self.patience.call(lambda: records.attempt_count(task_id), 0)

    def deaths(self, outcome: records.Outcome) -> int:
        """How many workers the task has ended, this one included."""
        if not outcome.saved:
            # No row counts them: each attempt may have been one.
            return outcome.row.attempt_count
        before: int = self.patience.call(lambda: records.worker_deaths(outcome.row.id), 0)
        return before + 1


def how_it_ended(lane: Lane) -> str:
    """One sentence on the end of a worker."""
    if lane.reason == Reason.OVERDUE:
        return "Task exceeded maximum timeout value and did not yield; its worker was killed"
    code = lane.exitcode
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"Worker process {lane.pid} was ended by {name} while it ran this task"
    return f"Worker process {lane.pid} exited with status {code} while it ran this task"
