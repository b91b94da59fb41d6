"""Queues what is due, tells how the cluster is, and clears old results away."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from django_q.errors import BrokerUnavailable
from django_q.models import Schedule, Task
from django_q.status import TTL_SECONDS, Stat

STATUS_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 5.0
GOODBYE_SECONDS = 3.0
CLEAR_SECONDS = 0.5
CLEAR_APART_SECONDS = 0.5
"""Between two clearings: tasks that are queued many times a second do not wait for each."""

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


@dataclass(frozen=True)
class Dependency:
    """What duties stand on and what may be away: the database, the broker."""

    outage: Outage
    is_missed_in: Callable[[Exception], bool]
    """Does this error say that it is away?"""
    reach: Callable[[], object]
    """Raises while it is away."""
    mend: Callable[[], object] = lambda: None
    """Closes what its absence may have spoilt."""


class Duty:
    """Something done again and again; while it cannot be done, that is logged once.

    That something is away which it depends on is said once for all duties and the whole cluster.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        clock: Callable[[], float],
        dependencies: Sequence[Dependency],
    ) -> None:
        self.name = name
        self.work = work
        self.clock = clock
        self.dependencies = dependencies
        self.missing: list[Dependency] = []
        self.trouble: type[Exception] | None = None
        self.pause = ASK_SECONDS
        self.not_before = float("-inf")

    def attempt(self) -> None:
        """Do it, unless it failed a moment ago."""
        if self.clock() < self.not_before:
            return
        error = self._try()
        if error is not None and self._missed_in(error):
            # It may only have been cut: the next one tells.
            error = self._try()
        if error is not None:
            self._failed(error)

    def _try(self) -> Exception | None:
        try:
            self.work()
            for dependency in self.missing:
                # There may have been nothing to do: that it can be reached is another matter.
                dependency.reach()
        except Exception as error:  # every database and every client library has its own
            for dependency in self._missed_in(error):
                self._miss(dependency, error)
            return error
        self._succeeded()
        return None

    def _missed_in(self, error: Exception) -> list[Dependency]:
        return [each for each in self.dependencies if each.is_missed_in(error)]

    def _miss(self, dependency: Dependency, error: Exception) -> None:
        if dependency not in self.missing:
            self.missing.append(dependency)
        dependency.outage.lost(error)
        dependency.mend()

    def _failed(self, error: Exception) -> None:
        if not self._missed_in(error) and self.trouble is not type(error):
            logger.error(
                "%s cannot %s, trying again: %s: %s",
                current_process().name, self.name, type(error).__name__, error,
            )  # fmt: skip
            logger.debug("The traceback:", exc_info=error)
            self.trouble = type(error)
        self.not_before = self.clock() + self.pause
        self.pause = min(self.pause * 2, LONGEST_PAUSE_SECONDS)

    def _succeeded(self) -> None:
        for dependency in self.missing:
            dependency.outage.found()
        if self.trouble is not None:
            logger.info("%s can %s again", current_process().name, self.name)
        self.missing, self.trouble = [], None
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
        queue: Outage | None = None,
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
        self.clear_at = float("-inf")
        self.due = DueSchedules(settings, broker, stopping, now, clock)
        self.dependencies = (
            Dependency(
                database or Outage("the database"),
                databases.is_connection_error,
                reach_database,
                close_databases,
            ),
            Dependency(
                queue or Outage("the broker"),
                lambda error: isinstance(error, BrokerUnavailable),
                broker.ping,
            ),
        )
        self.clearing = self.duty("clear old results away", self.clear)
        self.queueing = self.duty("queue what is due", self.due.queue_all)
        self.duties = [self.duty("save the cluster's status", self.tell), self.clearing]
        if settings.scheduler:
            self.duties.insert(1, self.queueing)

    def duty(self, name: str, work: Callable[[], None]) -> Duty:
        return Duty(name, work, self.clock, self.dependencies)

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
        times = [self.clock() + ASK_SECONDS]
        if self.clear_at > self.clock():
            times.append(self.clear_at)
        if self.settings.scheduler:
            times.append(max(self.due.ask_at, self.queueing.not_before))
        return max(min(times) - self.clock(), 0.0)

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
        if recorded == self.cleared_at or self.clock() < self.clear_at:
            return
        # With a limit per group, only those need a look that had a result since the last time.
        since = self.cleared_on and self.cleared_on - timedelta(minutes=1)
        now = self.now()
        # Not all of a large table at once: schedules that are due must not wait for it.
        using = router.db_for_write(Task)
        self.is_clearing = not records.prune_for(CLEAR_SECONDS, self.settings, using, since)
        if not self.is_clearing:
            self.cleared_at, self.cleared_on = recorded, now
            self.clear_at = self.clock() + CLEAR_APART_SECONDS


def reach_database() -> None:
    """Raise unless the results' database answers."""
    connections[router.db_for_write(Task)].ensure_connection()


def close_databases() -> None:
    """Close connections that an outage has spoilt; the next use opens others."""
    for using in {router.db_for_write(Schedule), router.db_for_write(Task)}:
        databases.close(using)
