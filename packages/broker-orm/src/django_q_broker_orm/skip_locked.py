"""The queue's table on databases that pass over the rows others are claiming: MySQL, MariaDB."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import QuerySet

from django_q.databases import transact
from django_q.models import OrmQ
from django_q_broker_orm.receipts import Claimed
from django_q_broker_orm.table import (
    Change,
    Due,
    Table,
    Taken,
    Until,
    Wanted,
    aware,
    columns_of,
    due_of,
    end_of,
    stored,
)

# From level to level, since only what is compared with constants is looked up and not counted.
LEVEL = """
SELECT
    (SELECT MAX(priority) FROM django_q_ormq WHERE `key` = %s AND priority < %s),
    (SELECT MIN(`lock`) FROM django_q_ormq WHERE `key` = %s AND priority = %s),
    EXISTS(SELECT 1 FROM django_q_ormq WHERE `key` = %s AND priority = %s AND `lock` IS NULL)
"""
ABOVE_ALL_LEVELS = 2**15


class SkipLockedTable(Table):
    """SELECT … FOR UPDATE SKIP LOCKED and the write in one transaction, rows by ascending id."""

    def due(self, now: datetime) -> Due:
        levels: list[tuple[int, datetime | None, bool]] = []
        level: int | None = ABOVE_ALL_LEVELS
        with self.connection.cursor() as cursor:
            while level is not None:
                cursor.execute(LEVEL, (self.key, level) * 3)
                lower, first, lacks_times = cursor.fetchone()
                levels.append((level, self._moment(first), bool(lacks_times)))
                level = lower
        return due_of(levels, now)

    def _moment(self, at: datetime | None) -> datetime | None:
        return aware(at.replace(tzinfo=self.connection.timezone)) if at else None

    def take(self, wanted: Wanted, until: Until, claim: int) -> list[Taken]:
        return transact(self.alias, lambda: self._take(wanted, until, claim))

    def _take(self, wanted: Wanted, until: Until, claim: int) -> list[Taken]:
        waiting = self.available(wanted).select_for_update(skip_locked=True)
        found = list(waiting[: wanted.limit])
        for row in found:
            row.lapses, row.claim = row.lapses + (row.claim is not None), claim
            row.lock = stored(end_of(until, row))
        self._write_claims(found)
        return [Taken(row.pk, row.payload, row.lapses, row.attempts) for row in found]

    def _write_claims(self, found: list[OrmQ]) -> None:
        """Write what `_take` decided: one statement for all rows that are alike."""
        alike: dict[tuple[datetime | None, int], list[int]] = {}
        for row in found:
            alike.setdefault((row.lock, row.lapses), []).append(row.pk)
        for (lock, lapses), ids in alike.items():
            self.rows.filter(pk__in=ids).update(lock=lock, lapses=lapses, claim=found[0].claim)

    def delete(self, claims: Sequence[Claimed]) -> set[Claimed]:
        def work() -> set[Claimed]:
            held = self._lock(claims)
            self.rows.filter(pk__in=[claimed.id for claimed in held]).delete()
            return held

        return transact(self.alias, work)

    def change(self, claims: Sequence[Claimed], change: Change) -> set[Claimed]:
        # A renewal never waits: what is locked is being settled or renewed just now.
        def work() -> set[Claimed]:
            held = self._lock(claims, skip_locked=not change.free)
            rows = self.rows.filter(pk__in=[claimed.id for claimed in held])
            rows.update(**columns_of(change))
            return held

        held = transact(self.alias, work)
        missed = set(claims) - held
        if missed and not change.free:
            held |= self._still_held(missed, self.rows)
        return held

    def _lock(self, claims: Sequence[Claimed], skip_locked: bool = False) -> set[Claimed]:
        locked = self.rows.select_for_update(skip_locked=skip_locked)
        return self._still_held(set(claims), locked.order_by("id"))

    def _still_held(self, claims: set[Claimed], rows: QuerySet[OrmQ]) -> set[Claimed]:
        ids = sorted(claimed.id for claimed in claims)
        now_held = dict(rows.filter(pk__in=ids).values_list("id", "claim"))
        return {
            claimed
            for claimed in claims
            if claimed.id in now_held and claimed.claim in (None, now_held[claimed.id])
        }
