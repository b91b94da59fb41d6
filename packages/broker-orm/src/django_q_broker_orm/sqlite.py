"""The queue's table on SQLite: one short write per batch, and nothing but indexed reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime

from django_q.databases import insist, is_prepared, transact
from django_q_broker_orm.receipts import Claimed
from django_q_broker_orm.table import (
    Change,
    Due,
    Table,
    Taken,
    Until,
    Wanted,
    aware,
    due_of,
    end_of,
    stored,
)

INSERT = """INSERT INTO django_q_ormq ("key", payload, "lock", priority) VALUES (%s, %s, %s, %s)"""

# Steps from level to level through the index: a level of 60,000 delayed packages costs one look.
LEVELS = """
WITH RECURSIVE level(priority) AS (
    SELECT MAX(priority) FROM django_q_ormq WHERE "key" = %s
    UNION ALL
    SELECT (SELECT MAX(priority) FROM django_q_ormq WHERE "key" = %s AND priority < level.priority)
    FROM level WHERE level.priority IS NOT NULL
)
SELECT level.priority,
    (SELECT MIN("lock") FROM django_q_ormq WHERE "key" = %s AND priority = level.priority),
    (
        SELECT 1 FROM django_q_ormq
        WHERE "key" = %s AND priority = level.priority AND "lock" IS NULL LIMIT 1
    )
FROM level WHERE level.priority IS NOT NULL
"""

AVAILABLE = """
SELECT {columns} FROM django_q_ormq
WHERE "key" = %s AND priority = %s AND "lock" <= %s AND (%s OR claim IS NULL)
ORDER BY "lock", id LIMIT %s
"""
READ = AVAILABLE.format(columns="id, payload, lapses, attempts, claim")
CLAIM = f"""
UPDATE django_q_ormq SET "lock" = %s, claim = %s, lapses = lapses + (claim IS NOT NULL)
WHERE id IN ({AVAILABLE.format(columns="id")})
"""
CLAIM_ONE = """
UPDATE django_q_ormq SET "lock" = %s, claim = %s, lapses = lapses + (claim IS NOT NULL)
WHERE id = %s
"""

# One parameter for any number of claims: SQLite limits variables, and reads a list of row values
# by scanning the table.
HELD = """
(id, claim) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(%s)
)
"""
NAMED = "id IN (SELECT value FROM json_each(%s))"
DELETE = "DELETE FROM django_q_ormq WHERE {which} RETURNING id"
CHANGE = """
UPDATE django_q_ormq
SET "lock" = %s, claim = CASE WHEN %s THEN NULL ELSE claim END, attempts = attempts + %s
WHERE {which} RETURNING id
"""


class SQLiteTable(Table):
    """Statements written out, each a few microseconds per row."""

    def insert(self, payload: str, lock: datetime | None, priority: int) -> int:
        row = (self.key, payload, self._text(lock), priority)
        if is_prepared(self.alias):
            return insist(lambda: self._insert(row))
        return self._insert(row)

    def _insert(self, row: tuple[Any, ...]) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(INSERT, row)
            return int(cursor.lastrowid)

    def insert_many(
        self, payloads: Sequence[str], lock: datetime | None, priority: int
    ) -> list[int]:
        at = self._text(lock)
        rows = [(self.key, payload, at, priority) for payload in payloads]
        return transact(self.alias, lambda: self._insert_many(rows)) if rows else []

    def _insert_many(self, rows: list[tuple[Any, ...]]) -> list[int]:
        with self.connection.cursor() as cursor:
            cursor.executemany(INSERT, rows)
            cursor.execute("SELECT last_insert_rowid()")
            last = int(cursor.fetchone()[0])
        # Nobody else writes until this transaction ends, so AUTOINCREMENT counted on by ones.
        return list(range(last - len(rows) + 1, last + 1))

    def due(self, now: datetime) -> Due:
        found = insist(lambda: self._fetch(LEVELS, (self.key,) * 4))
        return due_of([(level, self._moment(at), bool(lack)) for level, at, lack in found], now)

    def take(self, wanted: Wanted, until: Until, claim: int) -> list[Taken]:
        now = self._text(wanted.now)
        which = (self.key, wanted.priority, now, wanted.lapsed, wanted.limit)
        return transact(self.alias, lambda: self._take(which, until, claim))

    def _take(self, which: tuple[Any, ...], until: Until, claim: int) -> list[Taken]:
        found = self._fetch(READ, which)
        with self.connection.cursor() as cursor:
            if callable(until):
                rows = self.rows.in_bulk([row[0] for row in found])
                ends = [(self._text(end_of(until, rows[row[0]])), claim, row[0]) for row in found]
                cursor.executemany(CLAIM_ONE, ends)
            else:
                cursor.execute(CLAIM, (self._text(until), claim, *which))
        return [
            Taken(row_id, payload, lapses + (held is not None), attempts)
            for row_id, payload, lapses, attempts, held in found
        ]

    def delete(self, claims: Sequence[Claimed]) -> set[Claimed]:
        return transact(self.alias, lambda: self._settle(DELETE, (), claims))

    def change(self, claims: Sequence[Claimed], change: Change) -> set[Claimed]:
        values = (self._text(change.lock), change.free, change.attempts)
        return transact(self.alias, lambda: self._settle(CHANGE, values, claims))

    def _settle(
        self, statement: str, values: tuple[Any, ...], claims: Sequence[Claimed]
    ) -> set[Claimed]:
        fenced = self._newest([claimed for claimed in claims if claimed.claim is not None])
        bare = [claimed for claimed in claims if claimed.claim is None]
        settled: set[Claimed] = set()
        for which, group, names in (
            (HELD, fenced, fenced),
            (NAMED, bare, [claimed.id for claimed in bare]),
        ):
            if group:
                found = self._fetch(statement.format(which=which), (*values, json.dumps(names)))
                ids = {row_id for (row_id,) in found}
                settled.update(claimed for claimed in group if claimed.id in ids)
        return settled

    def _newest(self, claims: list[Claimed]) -> list[Claimed]:
        """Of claims on the same row, only the one that holds it: RETURNING could not tell."""
        if len({claimed.id for claimed in claims}) == len(claims):
            return claims
        found = self._fetch(
            f"SELECT id, claim FROM django_q_ormq WHERE {HELD}", [json.dumps(claims)]
        )
        return [Claimed(*row) for row in found]

    def _fetch(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def _text(self, moment: datetime | None) -> str | None:
        if moment is None:
            return None
        return str(self.connection.ops.adapt_datetimefield_value(stored(moment)))

    def _moment(self, text: str | None) -> datetime | None:
        moment = parse_datetime(text) if text else None
        return aware(moment.replace(tzinfo=self.connection.timezone)) if moment else None
