"""Queues what is due, tells how the cluster is, and clears old results away."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from multiprocessing import current_process
from typing import Any

from django.db import connections, router
from django.utils import timezone

from django_q import databases, records
from django_q.brokers import Broker
from django_q.cluster.due import ASK_SECONDS, DueSchedules
from django_q.cluster.patience import Outage
from django_q.conf import Settings, logger
from django_q.models import Schedule, Task
from django_q.status import TTL_SECONDS, Stat

STATUS_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 5.0
GOODBYE_SECONDS = 3.0
CLEAR_SECONDS = 0.5

NEWS = (
    "status",
    "sentinel",
    "pusher",
    "monitor",
    "scheduler",
    "workers",
    "reincarnations",
)
"""The facts whose change is told at once; the others change all the time."""


class Duty:
    """Something done again and again; while it cannot be done, that is logged once.

    That the database is away is said of `database`, for all duties and the whole cluster.
    """

    def __init__(
        self, name: str, work: Callable[[], None], clock: Callable[[], float], database: Outage
    ) -> None:
        self.name = name
        self.work = work
        self.clock = clock
        self.database = database
        self.misses_database = False
        self.trouble: type[Exception] | None = None
        self.pause = ASK_SECONDS
        self.not_before = float("-inf")

    def attempt(self) -> None:
        """Do it, unless it failed a moment ago."""
        if self.clock() < self.not_before:
            return
        error = self._try()
        if error is not None and databases.is_connection_error(error):
            # It may only have been cut: the next one tells.
            error = self._try()
        if error is not None:
            self._failed(error)

    def _try(self) -> Exception | None:
        try:
            self.work()
            if self.misses_database:
                # There may have been nothing to do: that it can be reached is another matter.
                connections[router.db_for_write(Task)].ensure_connection()
        except Exception as error:  # every database and every client library has its own
            if databases.is_connection_error(error):
                self._miss_database(error)
            return error
        self._succeeded()
        return None

    def _miss_database(self, error: Exception) -> None:
        self.misses_database = True
        self.database.lost(error)
        for using in {router.db_for_write(Schedule), router.db_for_write(Task)}:
            databases.close(using)

    def _failed(self, error: Exception) -> None:
        if not databases.is_connection_error(error) and self.trouble is not type(error):
            logger.error(
                "%s cannot %s, trying again: %s: %s",
                current_process().name, self.name, type(error).__name__, error,
            )  # fmt: skip
            logger.debug("The traceback:", exc_info=error)
            self.trouble = type(error)
        self.not_before = self.clock() + self.pause
        self.pause = min(self.pause * 2, LONGEST_PAUSE_SECONDS)

    def _succeeded(self) -> None:
        if self.misses_database:
            self.database.found()
        if self.trouble is not None:
            logger.info("%s can %s again", current_process().name, self.name)
        self.misses_database, self.trouble = False, None
        self.pause = ASK_SECONDS


class Scheduler:
    """The work of the scheduler process.

    `snapshot` tells the facts of the cluster that `Stat` is made of, and how many results were
    `recorded`; `wait` waits so many seconds, or less when the cluster stops.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        snapshot: Callable[[], Mapping[str, Any]],
        stopping: Callable[[], bool],
        wait: Callable[[float], Any],
        *,
        database: Outage | None = None,
        now: Callable[[], datetime] = timezone.now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.broker = broker
        self.snapshot = snapshot
        self.stopping = stopping
        self.wait = wait
        self.now = now
        self.clock = clock
        self.told: list[Any] | None = None
        self.tell_at = float("-inf")
        self.cleared_at: int | None = None
        self.cleared_on: datetime | None = None
        self.is_clearing = False
        self.due = DueSchedules(settings, broker, stopping, now, clock)
        self.database = database or Outage("the database")
        self.clearing = self.duty("clear old results away", self.clear)
        self.duties = [self.duty("save the cluster's status", self.tell), self.clearing]
        if settings.scheduler:
            self.duties.append(self.duty("queue what is due", self.due.queue_all))

    def duty(self, name: str, work: Callable[[], None]) -> Duty:
        return Duty(name, work, self.clock, self.database)

    def run(self) -> None:
        """Do every duty until the cluster stops, and tell at last that it does."""
        for using in {router.db_for_write(Schedule), router.db_for_write(Task)}:
            databases.prepare(using)
        while not self.stopping():
            self.step()
            self.wait(self.pause())
        self.duty("say that the cluster stops", self.say_goodbye).attempt()

    def step(self) -> None:
        """Each duty once, where its time has come."""
        for duty in self.duties:
            duty.attempt()

    def pause(self) -> float:
        """Seconds until there may be something to do: one at most."""
        if self.is_clearing:
            return min(max(self.clearing.not_before - self.clock(), 0.0), ASK_SECONDS)
        if not self.settings.scheduler:
            return ASK_SECONDS
        queueing = self.duties[-1]
        wanted = max(self.due.ask_at, queueing.not_before) - self.clock()
        return min(max(wanted, 0.0), ASK_SECONDS)

    def tell(self) -> None:
        """Save the status: at once when there is news, and else every few seconds."""
        snapshot = self.snapshot()
        news = [snapshot.get(fact) for fact in NEWS]
        if news == self.told and self.clock() < self.tell_at:
            return
        Stat.from_snapshot(snapshot).save(self.broker, TTL_SECONDS)
        self.told = news
        self.tell_at = self.clock() + STATUS_SECONDS

    def say_goodbye(self) -> None:
        """Save the last status, which nobody needs to see for long."""
        Stat.from_snapshot(self.snapshot()).save(self.broker, GOODBYE_SECONDS)

    def clear(self) -> None:
        """Bring the results down to their limits, if any were recorded since."""
        recorded = int(self.snapshot().get("recorded") or 0)
        if recorded == self.cleared_at:
            return
        # With a limit per group, only those need a look that had a result since the last time.
        since = self.cleared_on and self.cleared_on - timedelta(minutes=1)
        now = self.now()
        # Not all of a large table at once: schedules that are due must not wait for it.
        using = router.db_for_write(Task)
        self.is_clearing = not records.prune_for(CLEAR_SECONDS, self.settings, using, since)
        if not self.is_clearing:
            self.cleared_at, self.cleared_on = recorded, now
