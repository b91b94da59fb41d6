"""Queues what is due, tells how the cluster is, and clears old results away."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, router
from django.utils import timezone

from django_q import databases, records
from django_q.brokers import Broker
from django_q.cluster.due import ASK_SECONDS, DueSchedules
from django_q.cluster.duties import Dependency, Duty
from django_q.cluster.patience import Outage
from django_q.conf import Settings
from django_q.errors import BrokerUnavailable
from django_q.models import Schedule, Task
from django_q.records.cleaning import days_ago
from django_q.status import TTL_SECONDS, Stat

STATUS_SECONDS = 5.0
GOODBYE_SECONDS = 3.0
CLEAR_SECONDS = 0.5
CLEAR_APART_SECONDS = 0.5
"""Between two clearings: tasks that are queued many times a second do not wait for each."""
EXPIRE_APART_SECONDS = 60.0
"""Between two looks for results that are too old: a look-up in an index each."""

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
        self.is_expiring = False
        self.expire_at = float("-inf")
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
        self.expiring = self.duty("delete results older than keep_days", self.expire)
        self.duties = [self.duty("save the cluster's status", self.tell), self.clearing]
        if settings.keep_days is not None:
            self.duties.append(self.expiring)
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
        unfinished = [self.clearing] * self.is_clearing + [self.expiring] * self.is_expiring
        if unfinished:
            again = min(duty.not_before for duty in unfinished)
            return min(max(again - self.clock(), 0.0), ASK_SECONDS)
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

    def expire(self) -> None:
        """Delete what is older than `keep_days`: by time, for nothing new need be recorded."""
        if self.settings.keep_days is None or self.clock() < self.expire_at:
            return
        before = days_ago(self.settings.keep_days, self.now())
        using = router.db_for_write(Task)
        self.is_expiring = not records.expire_for(CLEAR_SECONDS, before, using)
        if not self.is_expiring:
            self.expire_at = self.clock() + EXPIRE_APART_SECONDS


def reach_database() -> None:
    """Raise unless the results' database answers."""
    connections[router.db_for_write(Task)].ensure_connection()


def close_databases() -> None:
    """Close connections that an outage has spoilt; the next use opens others."""
    for using in {router.db_for_write(Schedule), router.db_for_write(Task)}:
        databases.close(using)
