"""Deletes finished tasks on request: by age, state and group, or as the settings say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Max
from django.utils import timezone

from django_q import databases
from django_q.conf import Settings
from django_q.records.chunks import CHUNK_ROWS, Bounds, Part, Target, delete
from django_q.records.pruning import beyond_limits
from django_q.settings import RETENTION

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from django_q.models import IterItem

DEFAULT_DAYS = 30
"""What is older goes where the settings do not say how long, or how many, results are kept."""
ITEM_DAYS = 30
"""How long an `async_iter` may be at rest before what it has gathered is given up."""
CENTURY_DAYS = 36_500
"""Further back no calendar need reach: Python's begins with the year 1, MariaDB's with 1000."""


@dataclass
class Tally:
    """What was deleted, or would be."""

    successes: int = 0
    failures: int = 0
    items: int = 0
    """Of iterables that never completed."""

    @property
    def tasks(self) -> int:
        return self.successes + self.failures

    def add(self, target: Target, rows: int) -> None:
        if target.part.success:
            self.successes += rows
        else:
            self.failures += rows


@dataclass(frozen=True)
class Cleaning:
    """What is to be deleted, in one database: to be run or counted, and once."""

    using: str
    targets: Iterable[Target]
    items_before: datetime | None = None
    """Gathered items go of iterables of which none has finished since; None: of none."""
    chunk_rows: int = CHUNK_ROWS

    def run(self, tally: Tally) -> Iterator[Tally]:
        """Delete it, and say after each chunk how much it has been so far."""
        for target in self.targets:
            for rows in delete(target, self.using, self.chunk_rows):
                tally.add(target, rows)
                yield tally
        for rows in self._forget_items():
            tally.items += rows
            yield tally

    def count(self) -> Tally:
        """What `run` would delete now."""
        tally = Tally()
        for target in self.targets:
            tally.add(target, target.count(self.using))
        tally.items = sum(self._items(group).count() for group in self._stale_groups())
        return tally

    def _forget_items(self) -> Iterator[int]:
        for group in self._stale_groups():
            items = self._items(group)
            while ids := list(items.values_list("pk", flat=True)[: self.chunk_rows]):
                found = items.filter(pk__in=ids)
                rows, _ = databases.transact(self.using, found.delete)
                yield rows

    def _stale_groups(self) -> list[str]:
        from django_q.models import IterItem  # needs the app registry

        if self.items_before is None:
            return []
        return list(
            IterItem.objects.using(self.using)
            .order_by()
            .values_list("group", flat=True)
            .annotate(newest=Max("created"))
            .filter(newest__lt=self.items_before)
        )

    def _items(self, group: str) -> QuerySet[IterItem]:
        from django_q.models import IterItem

        return IterItem.objects.using(self.using).filter(group=group).order_by()


def of(
    using: str,
    *,
    before: datetime | None = None,
    success: bool | None = None,
    group: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> Cleaning:
    """The finished tasks that ended before then, of that state, of that group; None: of any."""
    from django_q.models import Failure, Success

    models = [Success, Failure] if success is None else [Success if success else Failure]
    field = None if group is None else "group"
    targets = [Target(Part(model, field, group), Bounds(before=before)) for model in models]
    return Cleaning(using, targets, chunk_rows=chunk_rows)


def by_settings(settings: Settings, using: str, chunk_rows: int = CHUNK_ROWS) -> Cleaning:
    """What `keep_days` and the limits leave no room for, and what iterables left behind.

    Where the settings say nothing of any of these, 30 days are kept.
    """
    days = settings.keep_days
    if days is None and not _says_what_is_kept(settings):
        days = DEFAULT_DAYS
    before = None if days is None else days_ago(days)
    return Cleaning(using, _by_settings(settings, using, before), days_ago(ITEM_DAYS), chunk_rows)


def _says_what_is_kept(settings: Settings) -> bool:
    """Also of another cluster: all of them have one table."""
    others = settings.alt_clusters.values()
    return settings.retention_is_explicit or any(RETENTION & set(entry) for entry in others)


def days_ago(days: float, now: datetime | None = None) -> datetime:
    """The moment so many days ago; of more than a century the beginning of that."""
    return (now or timezone.now()) - timedelta(days=min(days, CENTURY_DAYS))


def _by_settings(settings: Settings, using: str, before: datetime | None) -> Iterator[Target]:
    if before is not None:
        yield from of(using, before=before).targets
    for part, bounds in beyond_limits(settings, using):
        # What is older has gone for its age.
        yield Target(part, Bounds(up_to=bounds.up_to, since=before))
