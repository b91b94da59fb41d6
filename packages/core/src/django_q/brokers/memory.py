"""The memory broker: queues inside one process, for tests, threads and trying things out.

All broker objects of a process that have the same `list_key` share a queue. Nothing outlives
the process and no other process sees it, so `qcluster` refuses it.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from threading import Condition, Lock
from typing import Any

from django_q.brokers.base import IDLE_SECONDS, Broker, Delivery, Package
from django_q.conf import get_settings

WAKER_SECONDS = 0.05
"""How often a waiting claim looks at the cluster's waker, which cannot notify a Condition."""


@dataclass(slots=True)
class _Entry:
    """One package and what has become of it so far."""

    key: str
    order: int
    package: Package
    priority: int
    claim: int = 0  # 0: nobody's
    is_leased: bool = False
    lapses: int = 0
    attempts: int = 0
    version: int = 0  # what the heaps hold of an older version is void

    @property
    def receipt(self) -> str:
        return f"{self.key}.{self.claim}"


@dataclass(slots=True)
class _Queue:
    """What all broker objects of one `list_key` share; every method wants `changed` held."""

    changed: Condition = field(default_factory=Condition)
    entries: dict[str, _Entry] = field(default_factory=dict)
    ready: list[tuple[int, float, int, int, _Entry]] = field(default_factory=list)
    waiting: list[tuple[float, int, int, _Entry]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    advanced: float = 0.0

    def now(self) -> float:
        return time.time() + self.advanced

    def put(self, entry: _Entry, available_at: float) -> None:
        """Make an entry claimable from `available_at` on."""
        entry.version += 1
        if available_at <= self.now():
            item = (-entry.priority, available_at, entry.order, entry.version, entry)
            heapq.heappush(self.ready, item)
        else:
            heapq.heappush(self.waiting, (available_at, entry.order, entry.version, entry))

    def promote(self) -> None:
        """Make claimable what has become due: delayed packages, and those of lapsed leases."""
        self.forget_void()
        now = self.now()
        while self.waiting and self.waiting[0][0] <= now:
            due, _order, version, entry = heapq.heappop(self.waiting)
            if version == entry.version:
                entry.is_leased = False
                self.put(entry, due)

    def forget_void(self) -> None:
        """Drop what settled and renewed leases left behind, before it outweighs the rest."""
        if len(self.waiting) > 2 * len(self.entries) + 1000:
            self.waiting = [item for item in self.waiting if item[2] == item[3].version]
            heapq.heapify(self.waiting)

    def take(self, lease: float) -> _Entry | None:
        """Claim the next entry, if there is one."""
        while self.ready:
            *_rank, version, entry = heapq.heappop(self.ready)
            if version == entry.version:
                entry.lapses += entry.claim != 0
                self.lease(entry, next(self.numbers), lease)
                return entry
        return None

    def lease(self, entry: _Entry, claim: int, seconds: float) -> None:
        entry.claim, entry.is_leased = claim, True
        self.put(entry, self.now() + seconds)

    def find(self, receipt: str) -> _Entry | None:
        """The entry whose latest claim has this receipt."""
        entry = self.entries.get(str(receipt).partition(".")[0])
        return entry if entry and entry.claim and entry.receipt == receipt else None

    def remove(self, key: str) -> bool:
        entry = self.entries.pop(key, None)
        if entry is None:
            return False
        entry.version += 1
        return True

    def clear(self) -> None:
        for key in list(self.entries):
            self.remove(key)
        self.ready.clear()
        self.waiting.clear()

    def seconds_until_due(self) -> float:
        return self.waiting[0][0] - self.now() if self.waiting else IDLE_SECONDS


_queues: dict[str, _Queue] = {}
_queues_lock = Lock()


class Memory(Broker):
    """A broker with every capability that needs no server."""

    supports_receipts = True
    supports_bulk = True
    supports_lease_renewal = True
    supports_release = True
    supports_delay = True
    supports_priority = True
    counts_lapses = True
    counts_attempts = True
    retries_failures = True
    serves_clusters = False

    idle_seconds = IDLE_SECONDS
    """How long a claim waits for work; tests may shorten it."""

    connection: _Queue

    @staticmethod
    def get_connection(list_key: str | None = None) -> _Queue:
        """The queue of this name, the same for every broker object of the process."""
        with _queues_lock:
            return _queues.setdefault(list_key or "", _Queue())

    def advance(self, seconds: float) -> None:
        """Put the queue's clock forward, so that a test need not wait for leases and delays."""
        with self.connection.changed:
            self.connection.advanced += seconds
            self.connection.changed.notify_all()

    def packages(self) -> list[Package]:
        """All packages of the queue, claimed or not, in the order of their enqueues."""
        with self.connection.changed:
            return [entry.package for entry in self.connection.entries.values()]

    # One package at a time

    def enqueue(
        self,
        package: Package,
        *,
        priority: int | None = None,
        available_at: datetime | None = None,
        **options: Any,
    ) -> str:
        queue = self.connection
        with queue.changed:
            entry = self._add(package, priority, available_at)
            queue.changed.notify()
        return entry.key

    def dequeue(self) -> list[tuple[str, Package]]:
        settings = get_settings()
        deliveries = self._claim(settings.bulk or 1, settings.retry)
        return [(delivery.receipt, delivery.package) for delivery in deliveries]

    def acknowledge(self, receipt: str) -> bool:
        return not self._acknowledge([receipt])

    def fail(self, receipt: str) -> bool:
        return self.acknowledge(receipt)

    def delete(self, receipt: str) -> bool:
        """Remove a package, by the id that `enqueue` returned or by a receipt."""
        with self.connection.changed:
            return self.connection.remove(self.key_of(receipt))

    def key_of(self, receipt: str) -> str:
        return str(receipt).partition(".")[0]

    def queue_size(self) -> int:
        return self._count(leased=False)

    def lock_size(self) -> int:
        return self._count(leased=True)

    def purge_queue(self) -> None:
        with self.connection.changed:
            self.connection.clear()

    def delete_queue(self) -> None:
        self.purge_queue()

    def info(self) -> str:
        return "Memory"

    # Batches

    def enqueue_many(
        self,
        packages: list[Package],
        *,
        priority: int | None = None,
        available_at: datetime | None = None,
        **options: Any,
    ) -> list[str]:
        queue = self.connection
        with queue.changed:
            keys = [self._add(package, priority, available_at).key for package in packages]
            queue.changed.notify_all()
        return keys

    def claim(self, limit: int, lease: float) -> list[Delivery]:
        return self._claim(limit, lease)

    def acknowledge_many(self, receipts: list[str]) -> list[str]:
        return self._acknowledge(receipts)

    def extend(self, receipts: list[str], seconds: float) -> dict[str, str | None]:
        extended: dict[str, str | None] = {}
        with self.connection.changed:
            for receipt in receipts:
                entry = self.connection.find(receipt)
                extended[receipt] = receipt if entry else None
                if entry:
                    self.connection.lease(entry, entry.claim, seconds)
        return extended

    def release(self, receipts: list[str], delay: float = 0, count: bool = False) -> list[str]:
        refused = []
        queue = self.connection
        with queue.changed:
            for receipt in receipts:
                entry = queue.find(receipt)
                if entry is None:
                    refused.append(receipt)
                    continue
                entry.claim, entry.is_leased = 0, False
                entry.attempts += count
                queue.put(entry, queue.now() + delay)
            queue.changed.notify_all()
        return refused

    # What both surfaces stand on

    def _add(self, package: Package, priority: int | None, available_at: datetime | None) -> _Entry:
        queue = self.connection
        number = next(queue.numbers)
        entry = _Entry(str(number), number, package, priority or 0)
        queue.entries[entry.key] = entry
        queue.put(entry, available_at.timestamp() if available_at else queue.now())
        return entry

    def _claim(self, limit: int, lease: float) -> list[Delivery]:
        idle_until = time.monotonic() + self.idle_seconds
        queue = self.connection
        with queue.changed:
            while not (taken := self._take(limit, lease)):
                idle = idle_until - time.monotonic()
                if idle <= 0 or self._is_woken():
                    break
                slice_ = IDLE_SECONDS if self.waker is None else WAKER_SECONDS
                queue.changed.wait(max(min(idle, slice_, queue.seconds_until_due()), 0.001))
        return taken

    def _take(self, limit: int, lease: float) -> list[Delivery]:
        """Claim what is there. The caller holds the lock."""
        queue = self.connection
        queue.promote()
        taken: list[Delivery] = []
        while len(taken) < limit and (entry := queue.take(lease)):
            taken.append(
                Delivery(entry.key, entry.receipt, entry.package, entry.lapses, entry.attempts)
            )
        return taken

    def _is_woken(self) -> bool:
        return self.waker is not None and self.pause(0)

    def _acknowledge(self, receipts: list[str]) -> list[str]:
        """Remove what was claimed; return the receipts of claims that were superseded."""
        queue = self.connection
        superseded = []
        with queue.changed:
            for receipt in receipts:
                entry = queue.find(receipt)
                if entry is not None:
                    queue.remove(entry.key)
                elif self.key_of(receipt) in queue.entries:
                    superseded.append(receipt)
        return superseded

    def _count(self, leased: bool) -> int:
        queue = self.connection
        with queue.changed:
            queue.promote()
            return sum(entry.is_leased is leased for entry in queue.entries.values())
