"""The Redis broker: packages in a list, and leases on those that are claimed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import redis

from django_q.brokers.base import IDLE_SECONDS, Broker, Delivery, Package, Receipt
from django_q.conf import Conf, Settings, get_settings
from django_q.errors import ConfigurationError, EnqueueError, TaskRefused
from django_q_broker_redis import server
from django_q_broker_redis.connection import connect, describe, is_cluster, mistakes
from django_q_broker_redis.errors import is_outage, unavailable
from django_q_broker_redis.keys import has_one_slot, list_key_of
from django_q_broker_redis.leased import LeasedQueue, key_of
from django_q_broker_redis.waiting import Waiter, Woken

LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100
CHECK_SECONDS = 1.0
QUIET_SECONDS = 5.0
"""How long a queue that was found empty is taken to be so while nothing rings."""
STAT_KEYS_AT_ONCE = 1000


class WithReceipts:
    """A capability that `Q_CLUSTER["redis_receipts"]` may take away, asked of a class or an
    object: settings choose what a broker can do before there is one."""

    def __get__(self, broker: object, owner: type) -> bool:
        return bool(get_settings().broker_options.get("redis_receipts", True))


def with_receipts() -> Any:
    """A class attribute that is a bool to all who read it."""
    return WithReceipts()


class Redis(Broker):
    """The ready queue is the list `django_q:NAME:q` of Django Q and Django Q2."""

    supports_receipts = with_receipts()
    supports_bulk = True
    supports_lease_renewal = with_receipts()
    supports_release = with_receipts()
    supports_delay = with_receipts()
    supports_priority = with_receipts()
    counts_lapses = with_receipts()
    counts_attempts = with_receipts()
    retries_failures = False
    keeps_stats = True

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key_of(list_key or Conf.CLUSTER_NAME))
        self._set_up()

    def __setstate__(self, state: tuple[str, str | None]) -> None:
        super().__setstate__(state)
        self._set_up()

    def _set_up(self) -> None:
        if is_cluster(self.connection) and not has_one_slot(self.list_key):
            raise ConfigurationError(
                f"A Redis Cluster cannot keep the keys of the queue {self.list_key!r} together. "
                "Leave the braces out of its name, or put one pair of them around some of it."
            )
        self._queue = LeasedQueue(self.connection, self.list_key)
        self._waiter: Waiter | None = None
        self._is_back_from_outage = False
        self._lapsed_from = self._quiet_until = float("-inf")
        self._due_at = float("inf")

    def switch_queue(self) -> None:
        self._stop_waiting()
        super().switch_queue()
        self._set_up()

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        """The client of this process, one for all brokers while the settings stay the same."""
        with explained():
            return server.client_of(get_settings())

    def key_of(self, receipt: Receipt) -> str:
        return super().key_of(None) if receipt is None else key_of(receipt)

    # Putting in

    def enqueue(
        self,
        package: Package,
        *,
        priority: int | None = None,
        available_at: datetime | None = None,
        **options: Any,
    ) -> Any:
        return self._put([package], priority, available_at)[0]

    def enqueue_many(
        self,
        packages: list[Package],
        *,
        priority: int | None = None,
        available_at: datetime | None = None,
        **options: Any,
    ) -> list[Any]:
        return self._put(packages, priority, available_at)

    def _put(
        self, packages: list[Package], priority: int | None, available_at: datetime | None
    ) -> list[Any]:
        if packages:
            self.refuse_unsupported(packages[0], priority=priority, available_at=available_at)
        _refuse_priority(priority)
        with self._server():
            if not priority and available_at is None:
                return self._queue.put(packages)
            available_ms = round(available_at.timestamp() * 1000) if available_at else 0
            return self._queue.put_with(packages, priority or 0, available_ms)

    # Taking out

    def claim(self, limit: int, lease: float) -> list[Delivery]:
        with self._server():
            return self._claim(limit, lease)

    def dequeue(self) -> list[tuple[Any, Package]] | None:
        settings = get_settings()
        with self._server():
            claimed = self._claim(settings.bulk or 1, settings.retry)
        return [(one.receipt, one.package) for one in claimed] or None

    def _claim(self, limit: int, lease: float) -> list[Delivery]:
        deadline = time.monotonic() + IDLE_SECONDS
        while True:
            if time.monotonic() >= self._quiet_until and (found := self._take(limit, lease)):
                return found
            left = min(deadline, self._due_at) - time.monotonic()
            if left <= 0 and time.monotonic() >= deadline:
                return []
            woken = self._waiting().wait(left, self.waker, get_settings().poll)
            if woken is Woken.BY_WAKER:
                return []
            if woken is Woken.BY_WORK:
                self._quiet_until = float("-inf")

    def _take(self, limit: int, lease: float) -> list[Delivery]:
        """Claim what is there; if that is nothing, note how long there is no need to ask again.

        What comes in rings, so only what others have claimed meanwhile may lapse unheard.
        """
        if not self.supports_receipts:
            return self._take_for_good(limit)
        takes_lapsed = self._takes_lapsed(lease)
        deliveries, due = self._queue.take(limit, lease, takes_lapsed)
        now = time.monotonic()
        self._due_at = float("inf") if due is None else now + due
        if not takes_lapsed:
            self._due_at = min(self._due_at, self._lapsed_from)
        is_quiet = not deliveries
        quiet_seconds = min(QUIET_SECONDS, lease / 3) if is_quiet else 0.0
        self._quiet_until = min(self._due_at, now + quiet_seconds)
        return deliveries

    def _take_for_good(self, limit: int) -> list[Delivery]:
        """Claim as Django Q2 did: what is taken from the list is nowhere but here."""
        packages = self.connection.lpop(self.list_key, limit) or []
        return [Delivery(self.key_of(None), None, package) for package in packages]

    def _takes_lapsed(self, lease: float) -> bool:
        """After an outage leases have ended that nobody could renew: leave their holders the time
        for it that a living cluster needs."""
        if self._is_back_from_outage:
            self._is_back_from_outage = False
            self._lapsed_from = time.monotonic() + lease / 3
        return time.monotonic() >= self._lapsed_from

    def _waiting(self) -> Waiter:
        if self._waiter is None or self._waiter.pid != os.getpid():
            pool = partial(server.pool_of, self.connection, self.list_key)
            self._waiter = Waiter(pool, self._queue.list_key, self._queue.wake_key)
        return self._waiter

    def _stop_waiting(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.close()

    # Settling

    def acknowledge_many(self, receipts: list[Receipt]) -> list[Receipt]:
        with self._server():
            return self._queue.acknowledge([each for each in receipts if each is not None])

    def extend(self, receipts: list[Receipt], seconds: float) -> dict[Receipt, Receipt | None]:
        if not self.supports_lease_renewal:
            return super().extend(receipts, seconds)
        with self._server():
            lost = set(self._queue.extend(receipts, seconds))
        return {receipt: None if receipt in lost else receipt for receipt in receipts}

    def release(
        self, receipts: list[Receipt], delay: float = 0, count: bool = False
    ) -> list[Receipt]:
        if not self.supports_release:
            return super().release(receipts, delay, count)
        with self._server():
            return self._queue.release(receipts, delay, count)

    def acknowledge(self, receipt: Receipt) -> Any:
        return self.delete(receipt)

    def fail(self, receipt: Receipt) -> Any:
        return self.delete(receipt)

    def delete(self, receipt: Receipt) -> Any:
        """Forget what a receipt holds."""
        if receipt is not None:
            with self._server():
                self._queue.acknowledge([receipt])

    # The queue as a whole

    def queue_size(self) -> int:
        """Packages that can be claimed now."""
        with self._server():
            return self._queue.sizes()[0]

    def lock_size(self) -> int:
        """Packages that are claimed, or delayed."""
        with self._server():
            return self._queue.sizes()[1]

    def purge_queue(self) -> Any:
        with self._server():
            self._queue.clear()

    def delete_queue(self) -> Any:
        return self.purge_queue()

    # The server

    def ping(self) -> bool:
        """Does the server answer? Raises RedisUnavailable where it does not."""
        with self._server():
            return bool(self._node().ping())

    def info(self) -> str:
        """Name, version and durability of the server."""
        if not self._info:
            with self._server():
                self._info = server.title(self._node())
        return self._info

    @classmethod
    def problems(cls, settings: Settings) -> Iterator[str]:
        yield from mistakes(settings)

    def warnings(self) -> Iterator[str]:
        with (
            explained(),
            closing(connect(get_settings(), patience_seconds=CHECK_SECONDS)) as client,
        ):
            yield from server.warnings(server.node_of(client, self.list_key))

    def set_stat(self, key: str, value: str, timeout: float) -> None:
        with self._server():
            self.connection.set(key, value, px=max(round(timeout * 1000), 1))

    def get_stat(self, key: str) -> str | None:
        with self._server():
            found: str | None = self.connection.get(key)
        return found

    def get_stats(self, pattern: str) -> list[str]:
        with self._server():
            keys = set(self.connection.scan_iter(match=pattern, count=STAT_KEYS_AT_ONCE))
            found = [self.connection.get(key) for key in keys]
        return [stat for stat in found if stat is not None]

    def close(self) -> None:
        self._stop_waiting()
        server.drop_idle_connections(self.connection)

    def _node(self) -> Any:
        return server.node_of(self.connection, self.list_key)

    @contextmanager
    def _server(self) -> Iterator[None]:
        """Use the server; an outage is one error, and what it may have spoilt is opened again."""
        try:
            with explained():
                yield
        except redis.ConnectionError:
            self._is_back_from_outage = True
            self._quiet_until = float("-inf")
            self._stop_waiting()
            raise


@contextmanager
def explained() -> Iterator[None]:
    """Turn what redis-py raises in an outage into one error that names the server."""
    try:
        yield
    except EnqueueError as error:
        if not isinstance(error.__cause__, Exception) or not is_outage(error.__cause__):
            raise
        reason = unavailable(describe(), error.__cause__)
        raise EnqueueError(str(error), error.accepted) from reason
    except Exception as error:
        if not is_outage(error):
            raise
        raise unavailable(describe(), error) from error


def _refuse_priority(priority: int | None) -> None:
    if priority is not None and not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise TaskRefused(
            f"priority must be from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}, not {priority!r}."
        )
