"""The queue's table on any database that Django knows, by compare-and-set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connections
from django.db.models import Count, F, Min, Q, QuerySet
from django.utils import timezone

from django_q.databases import transact
from django_q.models import OrmQ
from django_q_broker_orm.receipts import Claimed

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""Where a row without a time, which some tool wrote, is put: in front."""

Until = datetime | Callable[[OrmQ], datetime]
"""When a claim ends: for all rows at once, or asked row by row of a 1.x `timeout` override."""


class Due(NamedTuple):
    """What there is to claim."""

    priorities: list[int]
    """The levels on which something can be claimed now, highest first."""
    next_at: datetime | None
    """When the next package becomes available, or the next lease ends."""
    untimed: bool
    """Are there rows without a time, which `give_times` makes claimable?"""


class Wanted(NamedTuple):
    """Which rows a claim takes."""

    priority: int
    limit: int
    now: datetime
    lapsed: bool = True
    """Also those that another claim held until its lease ended?"""


class Taken(NamedTuple):
    """One claimed row, with what it was before the claim."""

    id: int
    payload: str
    lapses: int
    attempts: int


class Change(NamedTuple):
    """What becomes of claimed rows: their lease renewed, or given back."""

    lock: datetime
    free: bool = False
    attempts: int = 0
    soon: bool = False
    """Given back for now, so that it is worth waking somebody?"""


class Table:
    """Portable: Django's ORM, and nothing that one of its databases could lack.

    Two clusters that want the same row both read it, and only the one whose UPDATE still finds it
    unchanged has it. Databases that can do better override what they do better.
    """

    batch = 500
    """How many rows one statement names at most."""
    dates_packages = False
    """Does the database itself say when a package came in? Then `lock` may be None."""

    def __init__(self, alias: str, key: str) -> None:
        self.alias = alias
        self.key = key

    @property
    def connection(self) -> Any:  # django-stubs has no common type that knows the vendors' parts
        return connections[self.alias]

    @property
    def rows(self) -> QuerySet[OrmQ]:
        return OrmQ.objects.using(self.alias)

    # Putting in

    def insert(self, payload: str, lock: datetime | None, priority: int) -> Any:
        return self.rows.create(
            key=self.key, payload=payload, lock=lock and stored(lock), priority=priority
        ).pk

    def insert_many(
        self, payloads: Sequence[str], lock: datetime | None, priority: int
    ) -> list[Any]:
        at = lock and stored(lock)
        rows = [
            OrmQ(key=self.key, payload=payload, lock=at, priority=priority) for payload in payloads
        ]
        return transact(
            self.alias, lambda: [row.pk for row in self.rows.bulk_create(rows, self.batch)]
        )

    # Claiming

    def due(self, now: datetime) -> Due:
        """What can be claimed now, and when there will be more."""
        levels = (
            self.rows.filter(key=self.key)
            .values_list("priority")
            .annotate(first=Min("lock"), untimed=Count("id") - Count("lock"))
            .order_by("-priority")
        )
        return due_of([(level, aware(first), bool(lack)) for level, first, lack in levels], now)

    def give_times(self) -> None:
        """Make rows without a time claimable, which no range of times would ever find."""
        transact(
            self.alias,
            lambda: self.rows.filter(key=self.key, lock=None).update(lock=stored(LONG_AGO)),
        )

    def take(self, wanted: Wanted, until: Until, claim: int) -> list[Taken]:
        """Claim rows of one level, those first available first."""
        waiting = self.available(wanted)[: wanted.limit]
        return [row_taken(row) for row in waiting if self._compare_and_set(row, until, claim)]

    def available(self, wanted: Wanted) -> QuerySet[OrmQ]:
        rows = self.rows.filter(
            key=self.key, priority=wanted.priority, lock__lte=stored(wanted.now)
        )
        return (rows if wanted.lapsed else rows.filter(claim=None)).order_by("lock", "id")

    def _compare_and_set(self, row: OrmQ, until: Until, claim: int) -> int:
        unchanged = self.rows.filter(id=row.pk, lock=row.lock, claim=row.claim)
        lapses = row.lapses + (row.claim is not None)
        return unchanged.update(lock=stored(end_of(until, row)), claim=claim, lapses=lapses)

    # Settling

    def delete(self, claims: Sequence[Claimed]) -> set[Claimed]:
        """Delete rows that these claims still hold; the claims that did."""
        return {claimed for claimed in claims if self.held([claimed]).delete()[0]}

    def change(self, claims: Sequence[Claimed], change: Change) -> set[Claimed]:
        """Renew or give back rows that these claims still hold; the claims that did."""
        columns = columns_of(change)
        return {claimed for claimed in claims if self.held([claimed]).update(**columns)}

    def held(self, claims: Iterable[Claimed]) -> QuerySet[OrmQ]:
        """The rows that these claims hold."""
        matching = Q(pk__in=[])
        for row_id, claim in claims:
            matching |= Q(id=row_id) if claim is None else Q(id=row_id, claim=claim)
        return self.rows.filter(matching)


def due_of(levels: Iterable[tuple[int, datetime | None, bool]], now: datetime) -> Due:
    """Sort levels, each with its first time, into those that are due and the next time of all."""
    priorities: list[int] = []
    next_at: datetime | None = None
    untimed = False
    for priority, first, lacks_times in levels:
        untimed |= lacks_times
        if first is None:
            continue
        if first <= now:
            priorities.append(priority)
        elif next_at is None or first < next_at:
            next_at = first
    return Due(priorities, next_at, untimed)


def columns_of(change: Change) -> dict[str, Any]:
    """What `QuerySet.update` sets for a change."""
    columns: dict[str, Any] = {"lock": stored(change.lock)}
    if change.free:
        columns["claim"] = None
    if change.attempts:
        columns["attempts"] = F("attempts") + change.attempts
    return columns


def row_taken(row: OrmQ) -> Taken:
    return Taken(row.pk, row.payload, row.lapses + (row.claim is not None), row.attempts)


def end_of(until: Until, row: OrmQ) -> datetime:
    return until(row) if callable(until) else until


def stored(moment: datetime) -> datetime:
    """The moment as the site keeps its times: aware, or naive local time without USE_TZ."""
    if settings.USE_TZ:
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    if timezone.is_naive(moment):
        return moment
    return timezone.make_naive(moment, timezone.get_default_timezone())


def aware(moment: datetime | None) -> datetime | None:
    """A stored time as an aware one."""
    if moment is None or timezone.is_aware(moment):
        return moment
    return timezone.make_aware(moment, timezone.get_default_timezone())
