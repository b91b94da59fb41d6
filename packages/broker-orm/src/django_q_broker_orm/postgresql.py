"""The queue's table on PostgreSQL: a claim is one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django_q.databases import transact
from django_q_broker_orm.skip_locked import SkipLockedTable
from django_q_broker_orm.sqlite import LEVELS
from django_q_broker_orm.table import Due, Taken, Until, Wanted, aware, due_of, stored

INSERT = """
INSERT INTO django_q_ormq ("key", payload, "lock", priority) VALUES (%s, %s, %s, %s) RETURNING id
"""

# MATERIALIZED: the planner may run a plain subquery with a LIMIT more than once.
CLAIM = """
WITH picked AS MATERIALIZED (
    SELECT id, "lock" AS available, claim AS held FROM django_q_ormq
    WHERE "key" = %s AND priority = %s AND "lock" <= %s AND (%s OR claim IS NULL)
    ORDER BY "lock", id LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE django_q_ormq AS queued
SET "lock" = %s, claim = %s,
    lapses = queued.lapses + CASE WHEN picked.held IS NULL THEN 0 ELSE 1 END
FROM picked WHERE queued.id = picked.id
RETURNING picked.available, queued.id, queued.payload, queued.lapses, queued.attempts
"""


class PostgreSQLTable(SkipLockedTable):
    """One round trip per claim; settling as on every database with SKIP LOCKED."""

    def insert(self, payload: str, lock: datetime, priority: int) -> int:
        found = self._fetch(INSERT, (self.key, payload, stored(lock), priority))
        return int(found[0][0])

    def due(self, now: datetime) -> Due:
        found = self._fetch(LEVELS, (self.key,) * 4)
        return due_of([(level, aware(at), bool(lack)) for level, at, lack in found], now)

    def take(self, wanted: Wanted, until: Until, claim: int) -> list[Taken]:
        if callable(until):
            return super().take(wanted, until, claim)
        which = (self.key, wanted.priority, stored(wanted.now), wanted.lapsed, wanted.limit)
        values = (*which, stored(until), claim)
        found = transact(self.alias, lambda: self._fetch(CLAIM, values))
        return [Taken(*row[1:]) for row in sorted(found, key=lambda row: row[:2])]

    def _fetch(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows
