"""The ORM broker: a queue in a table of the site's own database."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import Error, connections, router
from django.db.models import QuerySet

from django_q import databases
from django_q.brokers.base import Broker, Delivery, Package, Receipt
from django_q.conf import get_settings
from django_q.models import OrmQ
from django_q_broker_orm.clock import clock_for
from django_q_broker_orm.receipts import Claimed, new_claim, read, receipt_of, row_of
from django_q_broker_orm.table import Change, Due, Until, Wanted, stored
from django_q_broker_orm.tables import table_for, waiter_for
from django_q_broker_orm.wake import Woken

LONGEST_WAIT_SECONDS = 1.0
LONGEST_LULL_SECONDS = 5.0
IDLE_SECONDS = 60.0
SETTLED_AT_ONCE = 500

_LAST_USE = "_django_q_last_use"


class Lull(NamedTuple):
    """A look that found nothing to claim, and holds while nobody writes and no time has come."""

    mark: Hashable
    due: Due
    until: float

    def lasts(self, mark: Hashable | None, now: datetime) -> bool:
        """Is it known without another look that there is nothing to claim?"""
        if mark != self.mark or time.monotonic() >= self.until:
            return False
        return self.due.next_at is None or now < self.due.next_at


class ORM(Broker):
    """Packages are rows of `django_q_ormq`; `lock` says when each is, or is again, available."""

    supports_receipts = True
    supports_bulk = True
    supports_lease_renewal = True
    supports_release = True
    supports_delay = True
    supports_priority = True
    is_transactional = True
    counts_lapses = True
    counts_attempts = True
    retries_failures = True

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._set_up()

    def __setstate__(self, state: tuple[str, str | None]) -> None:
        super().__setstate__(state)
        self._set_up()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let 1.x overrides win over the batch methods that would bypass them."""
        super().__init_subclass__(**kwargs)
        if "delete" in cls.__dict__ and "acknowledge_many" not in cls.__dict__:
            cls.acknowledge_many = Broker.acknowledge_many  # type: ignore[method-assign]

    def _set_up(self) -> None:
        self.alias = self._alias_of(self.connection)
        self._table = table_for(self.alias, self.list_key)
        self._clock = clock_for(self.alias)
        self._waiter = waiter_for(self.alias, self.list_key, get_settings().poll)
        self._is_back_from_outage = False
        self._lapsed_from = float("-inf")
        self._lull: Lull | None = None

    def switch_queue(self) -> None:
        super().switch_queue()
        self._waiter.close()
        self._set_up()

    @staticmethod
    def _alias_of(rows: QuerySet[OrmQ]) -> str:
        # A 1.x override may leave the database to the routers; `rows.db` would be the replica.
        return getattr(rows, "_db", None) or router.db_for_write(OrmQ)

    @staticmethod
    def get_connection(list_key: str | None = None) -> QuerySet[OrmQ]:
        """The queue's rows on the database that `Q_CLUSTER["orm"]` names."""
        alias = get_settings().orm or "default"
        _refresh(alias)
        return OrmQ.objects.using(alias)

    def key_of(self, receipt: Receipt) -> str:
        return row_of(receipt)

    def join_cluster(self) -> None:
        databases.prepare(self.alias)

    def commits_with(self, using: str) -> bool:
        return using == self.alias

    # Putting in

    def enqueue(
        self,
        package: Package,
        *,
        priority: int | None = None,
        available_at: datetime | None = None,
        **options: Any,
    ) -> Any:
        with self._database():
            lock = self._lock_until(available_at)
            return self._table.insert(_text(package), lock, priority or 0)

    def enqueue_many(
        self,
        packages: Sequence[Package],
        *,
        priority: int | None = None,
        available_at: datetime | None = None,
        **options: Any,
    ) -> list[Any]:
        """All or none: one transaction."""
        with self._database():
            lock = self._lock_until(available_at)
            return self._table.insert_many([_text(one) for one in packages], lock, priority or 0)

    def _lock_until(self, available_at: datetime | None) -> datetime | None:
        if available_at is not None or self._table.dates_packages:
            return available_at
        return self._clock.now()

    # Taking out

    def claim(self, limit: int, lease: float) -> list[Delivery]:
        with self._database():
            return self._claim(limit, lease)

    def dequeue(self) -> list[tuple[Any, Package]] | None:
        settings = get_settings()
        with self._database():
            claimed = self._claim(settings.bulk or 1, settings.retry)
        return [(one.receipt, one.package) for one in claimed] or None

    def timeout(self, task: OrmQ) -> datetime:
        """When the claim of this row ends, for subclasses to override as in 1.x.

        Where it is overridden, it decides the first lease of each row instead of `retry`.
        """
        return self._clock.now() + timedelta(seconds=get_settings().retry)

    def _claim(self, limit: int, lease: float) -> list[Delivery]:
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        self._waiter.waker = self.waker
        self._clock.warn_once()
        while True:
            mark = self._waiter.before_looking()
            now = self._clock.now()
            due = self._due(mark, now)
            if due.untimed:
                self._table.give_times()
                continue
            wanted = [Wanted(one, limit, now, self._takes_lapsed(lease)) for one in due.priorities]
            if claimed := self._take(wanted, self._until(now, lease)):
                self._waiter.found_work()
                return claimed
            if self._is_over(deadline, now, due.next_at):
                return []

    def _due(self, mark: Hashable | None, now: datetime) -> Due:
        """What there is to claim; an idle queue is not asked anew each second."""
        if self._lull is not None and self._lull.lasts(mark, now):
            return self._lull.due
        due = self._table.due(now)
        finds_nothing = mark is not None and not due.priorities and not due.untimed
        until = time.monotonic() + LONGEST_LULL_SECONDS
        self._lull = Lull(mark, due, until) if finds_nothing else None
        return due

    def _take(self, levels: list[Wanted], until: Until) -> list[Delivery]:
        claimed: list[Delivery] = []
        claim = new_claim()
        for wanted in levels:
            left = wanted.limit - len(claimed)
            if left <= 0:
                break
            try:
                rows = self._table.take(wanted._replace(limit=left), until, claim)
            except Error:
                if claimed:
                    break  # What is claimed already would lapse; the next call meets the error.
                raise
            claimed += [Delivery(str(row.id), receipt_of(row.id, claim), *row[1:]) for row in rows]
        return claimed

    def _is_over(self, deadline: float, now: datetime, next_at: datetime | None) -> bool:
        """Wait until there may be work: has the claim waited long enough?"""
        if connections[self.alias].in_atomic_block:
            return True  # What others commit cannot be seen before this transaction ends.
        left = deadline - time.monotonic()
        if next_at is not None:
            left = min(left, (next_at - now).total_seconds())
        # Less than nothing is left where the look itself took longer than the claim may wait.
        woken = self._waiter.wait(max(0.0, left))
        return woken is Woken.RUNG or time.monotonic() >= deadline

    def _until(self, now: datetime, lease: float) -> Until:
        if type(self).timeout is ORM.timeout:
            return now + timedelta(seconds=lease)
        return self.timeout

    def _takes_lapsed(self, lease: float) -> bool:
        """After an outage leases have ended that nobody could renew: leave their holders the time
        for it that a living cluster needs."""
        if self._is_back_from_outage:
            self._is_back_from_outage = False
            self._lapsed_from = time.monotonic() + lease / 3
        return time.monotonic() >= self._lapsed_from

    # Settling

    def acknowledge_many(self, receipts: list[Receipt]) -> list[Receipt]:
        with self._database():
            return self._settle(receipts, self._table.delete)

    def extend(self, receipts: list[Receipt], seconds: float) -> dict[Receipt, Receipt | None]:
        with self._database():
            change = Change(self._clock.now() + timedelta(seconds=seconds))
            lost = set(self._settle(receipts, lambda some: self._table.change(some, change)))
        return {receipt: None if receipt in lost else receipt for receipt in receipts}

    def release(
        self, receipts: list[Receipt], delay: float = 0, count: bool = False
    ) -> list[Receipt]:
        with self._database():
            available_at = self._clock.now() + timedelta(seconds=delay)
            soon = delay < LONGEST_WAIT_SECONDS
            change = Change(available_at, free=True, attempts=int(count), soon=soon)
            return self._settle(receipts, lambda some: self._table.change(some, change))

    def _settle(self, receipts: Sequence[Receipt], settle: Any) -> list[Receipt]:
        """Settle by ascending id, so that two who settle the same rows never deadlock."""
        claims = {receipt: read(receipt) for receipt in receipts}
        ordered = sorted(set(claims.values()), key=lambda claimed: claimed.id)
        settled: set[Claimed] = set()
        for start in range(0, len(ordered), SETTLED_AT_ONCE):
            settled |= settle(ordered[start : start + SETTLED_AT_ONCE])
        return [receipt for receipt in receipts if claims[receipt] not in settled]

    def acknowledge(self, receipt: Receipt) -> Any:
        return self.delete(receipt)

    def fail(self, receipt: Receipt) -> Any:
        return self.delete(receipt)

    def delete(self, receipt: Receipt) -> Any:
        """Delete what a receipt still holds, or the row with a bare primary key."""
        with self._database():
            self._settle([receipt], self._table.delete)

    # The queue as a whole

    def queue_size(self) -> int:
        """Packages that can be claimed now."""
        with self._database():
            now = stored(self._clock.now())
            return databases.insist(self._rows().exclude(lock__gt=now).count)

    def lock_size(self) -> int:
        """Packages that are claimed, or delayed."""
        with self._database():
            now = stored(self._clock.now())
            return databases.insist(self._rows().filter(lock__gt=now).count)

    def purge_queue(self) -> Any:
        with self._database():
            return databases.transact(self.alias, self._rows().delete)

    def delete_queue(self) -> Any:
        return self.purge_queue()

    def ping(self) -> bool:
        """Can the table be read? Raises the database's error where it cannot."""
        with self._database():
            databases.insist(self._rows().exists)
        return True

    def info(self) -> str:
        if not self._info:
            self._info = f"ORM {self.alias}"
        return self._info

    def close(self) -> None:
        self._lull = None
        self._waiter.close()
        databases.close(self.alias)

    def _rows(self) -> QuerySet[OrmQ]:
        return OrmQ.objects.using(self.alias).filter(key=self.list_key)

    @contextmanager
    def _database(self) -> Iterator[None]:
        """Use the connection; one that turns out to be lost is closed, so that the next call
        opens another."""
        _refresh(self.alias)
        try:
            yield
        except Error as error:
            if databases.is_connection_error(error):
                self._is_back_from_outage = True
                self._clock.forget()
                self.close()
            raise


def _text(package: Package) -> str:
    return package.decode() if isinstance(package, bytes) else package


def _refresh(alias: str) -> None:
    """Close a connection that the server may have dropped since, as Django does per request.

    Not inside a transaction, and not in a cluster, which closes what fails; nor between calls
    that follow each other, since a new connection costs more than an enqueue.
    """
    connection: Any = connections[alias]
    if connection.in_atomic_block or databases.is_prepared(alias):
        return
    now = time.monotonic()
    if connection.errors_occurred or now - getattr(connection, _LAST_USE, now) > IDLE_SECONDS:
        connection.close_if_unusable_or_obsolete()
    setattr(connection, _LAST_USE, now)
