"""Takes packages from its lane one after the other, runs them and reports what came of them."""

from __future__ import annotations

import logging
import os
from typing import Any

from django.core.signing import BadSignature
from django.db import close_old_connections, router
from django.utils import timezone

from django_q import conf, databases, package, records
from django_q.brokers.base import Delivery
from django_q.cluster import clock
from django_q.cluster.birth import FORK
from django_q.cluster.crew import Crew, join_crew, set_title
from django_q.cluster.dealer import LOW_WATER
from django_q.cluster.lane import Action, Lane, Report, Verdict
from django_q.cluster.patience import Outage, Patience
from django_q.cluster.ring import Torn
from django_q.cluster.settlement import after_failure, identify
from django_q.errors import BadPackage, TaskRefused, TimeoutException
from django_q.models import Task
from django_q.signals import notify
from django_q.tasks import execution

logger = logging.getLogger("django-q")

GRACE_SECONDS = 3
"""How long a task that used up its timeout may take to yield before its worker is killed."""

DISCARDED = Report(Verdict.REJECTED, Action.ACKNOWLEDGE, 0)
"""There is nothing that could be recorded of the package."""

YOUNG_SECONDS, YOUNG_UNFORKED_SECONDS = 2, 60
"""A worker under this age is not recycled by the default of `recycle`; one that was not forked
takes some hundred times as long to start."""


class Worker:
    """The worker of one lane."""

    def __init__(self, name: str, crew: Crew, lane: Lane) -> None:
        self.name = name
        self.crew = crew
        self.settings = crew.settings
        self.lane = lane
        self.board = crew.board
        self.bell = crew.board.lane_bells[lane.index]
        self.born = clock.now()
        forked = crew.board.start_method == FORK
        self.youth = YOUNG_SECONDS if forked else YOUNG_UNFORKED_SECONDS
        self.count = 0
        self.leaving = False
        results = router.db_for_write(Task)
        self.patience = Patience(
            Outage.of_database(crew, results),
            wait=self.bell.wait,
            give_up=lambda: False,
            mend=lambda: databases.close(results),
        )

    def run(self) -> None:
        self.boot()
        while not self.leaving:
            number = self.lane.done + 1
            if self.wait_for(number):
                self.take(number)
                self.consider_recycling()
        logger.info("%s stopped doing work", self.name)

    def boot(self) -> None:
        join_crew(self.name, "idle")
        logger.info("%s ready for work at %s", self.name, os.getpid())
        notify("post_spawn", proc_name=self.name)

    # Waiting

    def wait_for(self, number: int) -> bool:
        """Wait for a package that may start; False when it is time to look at the world again."""
        if self.board.stopping:
            # What has not started is the pusher's to give back.
            self.leaving = True
            return False
        if self.is_ready(number):
            return True
        set_title(self.name, "idle")
        self.bell.wait(1.0, lambda: self.is_ready(number) or self.board.stopping)
        return False

    def is_ready(self, number: int) -> bool:
        lane = self.lane
        if lane.written < number:
            return False
        return lane.voided >= number or clock.now() < self.board.lease_until

    # One package

    def take(self, number: int) -> None:
        lane = self.lane
        began = clock.now()
        lane.started_at = began
        lane.started = number
        # Read after `started` is stored: the pusher stores `voided`, waits, and reads `started`.
        if lane.voided >= number or began >= self.board.lease_until:
            report = Report(Verdict.DROPPED, Action.RETURN, 0)
        else:
            report = self.work(self.read(number))
            lane.deadline = 0
            self.count += 1
        self.deliver(number, report)
        lane.busy += clock.now() - began

    def read(self, number: int) -> Delivery:
        """The record; looked at again on processors that show a cursor before what it counts."""
        while True:
            try:
                return self.lane.delivery(number)
            except Torn:
                continue

    def work(self, delivery: Delivery) -> Report:
        """What became of a package; whatever it holds, it costs at most itself."""
        try:
            return self.process(delivery)
        except Exception as error:
            logger.exception("%s could not deal with a package", self.name)
            return self.salvage(delivery, error)

    def salvage(self, delivery: Delivery, error: Exception) -> Report:
        """Record as failed what can be told of a task whose package holds nonsense beside it."""
        task = identify(delivery.package)
        if task is None:
            return DISCARDED
        known = {key: task[key] for key in ("id", "name", "func")}
        known |= {"args": (), "kwargs": {}, "started": timezone.now()}
        return self.refused(known, error, delivery.attempts + 1, False)

    def process(self, delivery: Delivery) -> Report:
        """Read a package, and run its task unless that is pointless."""
        attempt, first = delivery.attempts + 1, not (delivery.lapses or delivery.attempts)
        if self.is_exhausted(delivery):
            return self.exhausted(delivery)
        try:
            task = package.loads(delivery.package)
        except (BadSignature, BadPackage) as error:
            inert = identify(delivery.package)
            return self.refused(inert, error, attempt, first) if inert else DISCARDED
        problem = package.problem(task)
        if problem:
            return self.refused(task, TaskRefused(problem), attempt, first)
        if (delivery.lapses or task.pop("check", False)) and self.is_recorded(task):
            outcome = execution.known(task, self.settings)
            return Report(Verdict.KNOWN, Action.ACKNOWLEDGE, 0, outcome)
        return self.perform(task, delivery, attempt, first)

    def perform(
        self, task: dict[str, Any], delivery: Delivery, attempt: int, first: bool
    ) -> Report:
        # 1.x handlers look for both; the receipt itself is the pusher's alone.
        task["cluster"], task["ack_id"] = self.settings.cluster_name, None
        ack_failure = bool(task.get("ack_failure"))
        what = execution.description(task)
        logger.info("%s processing %s", self.name, what)
        set_title(self.name, f"processing {what}")
        close_old_connections()
        if not self.crew.broker_class.counts_attempts:
            # Such a broker counts no attempts; the Task row does.
            first = False
        result = execution.perform(
            task,
            self.settings,
            attempt=attempt,
            first=first,
            begin=self.set_deadline,
            check_links=not self.crew.broker_class.is_transactional,
        )
        if result.timed_out:
            # Whatever the task was in the middle of is still in this process.
            self.leaving = True
        return self.reported(result, ack_failure, attempt)

    def reported(self, result: execution.Performance, ack_failure: bool, attempt: int) -> Report:
        if not self.crew.broker_class.counts_attempts:
            row = result.outcome.row
            attempt = 1 + self.patience.call(lambda: records.attempt_count(row.id), 0)
            row = row._replace(attempt_count=attempt)
            result = result._replace(outcome=result.outcome._replace(row=row))
        if result.error is None:
            return Report(Verdict.FINISHED, Action.ACKNOWLEDGE, 0, result.outcome)
        action, delay = after_failure(
            attempt=attempt,
            ack_failure=ack_failure,
            settings=self.settings,
            broker=self.crew.broker_class,
        )
        return Report(Verdict.FINISHED, action, delay, result.outcome, str(result.error))

    def refused(self, task: dict[str, Any], error: Exception, attempt: int, first: bool) -> Report:
        """The report of a task that cannot be run, now or ever."""
        result = execution.refuse(task, self.settings, error, attempt=attempt, first=first)
        return Report(Verdict.FINISHED, Action.ACKNOWLEDGE, 0, result.outcome, str(error))

    def is_exhausted(self, delivery: Delivery) -> bool:
        """Was it claimed too often without an end?

        A broker that counts no attempts takes each failed one for a lapse; the Task row does not.
        """
        lapses = delivery.lapses
        if lapses >= self.settings.max_lapses and not self.crew.broker_class.counts_attempts:
            task = identify(delivery.package)
            if task is not None:
                lapses -= self.patience.call(lambda: records.attempt_count(task["id"]), 0)
        return lapses >= self.settings.max_lapses

    def exhausted(self, delivery: Delivery) -> Report:
        """End a package that was claimed again and again and never came to an end."""
        task = identify(delivery.package)
        if task is None:
            return DISCARDED
        error = BadPackage(
            f"Claimed {delivery.lapses} times without an end: its cluster died each time, "
            "or was cut off from the broker. It is not tried again."
        )
        return self.refused(task, error, delivery.attempts + 1, False)

    def is_recorded(self, task: dict[str, Any]) -> bool:
        return self.patience.call(lambda: records.recorded_success(task["id"]), False)

    def set_deadline(self, timeout: float | None) -> None:
        """Tell the sentinel until when the task may run."""
        self.lane.deadline = clock.after(timeout + GRACE_SECONDS) if timeout else 0

    # Reporting

    def deliver(self, number: int, report: Report) -> None:
        """Put the report into the outbox, and wait for room while the monitor stands."""
        lane = self.lane
        while not self.put(number, report):
            lane.blocked = 1
            self.bell.wait(0.05)
        lane.blocked = 0
        self.board.monitor_bell.ring()
        if lane.written - number <= LOW_WATER:
            self.board.pusher_bell.ring()

    def put(self, number: int, report: Report) -> bool:
        try:
            return self.lane.report(number, report)
        except TimeoutException:
            # An alarm that came too late for its task must not cost the result.
            return False

    # Recycling

    def consider_recycling(self) -> None:
        """Leave after `recycle` packages or above `max_rss`; a new worker takes the place over."""
        if self.settings.recycle_is_explicit:
            self.lane.left = self.settings.recycle - self.count
        if self.count >= self.settings.recycle:
            age = (clock.now() - self.born) / clock.NANOSECONDS
            self.leaving |= self.settings.recycle_is_explicit or age >= self.youth
        if self.settings.max_rss and self.rss() >= self.settings.max_rss:
            self.leaving = True

    @staticmethod
    def rss() -> int:
        """The largest resident set size so far, in KiB."""
        if conf.resource is not None:
            return int(conf.resource.getrusage(conf.resource.RUSAGE_SELF).ru_maxrss)
        if conf.psutil is not None:
            return int(conf.psutil.Process().memory_info().rss) // 1024
        return 0
