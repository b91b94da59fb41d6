"""The queue's table on PostgreSQL: whatever is done to it is one statement."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django_q.databases import insist, transact
from django_q_broker_orm.notifications import NOTIFIED_SECONDS, channel_of, told_at
from django_q_broker_orm.receipts import Claimed
from django_q_broker_orm.skip_locked import SkipLockedTable
from django_q_broker_orm.sqlite import LEVELS
from django_q_broker_orm.table import Change, Due, Taken, Until, Wanted, aware, due_of, stored

INSERTED_AT_ONCE = 1000
TELL_APART_SECONDS = 0.02

# The server says when a package came in, not the producer's machine. A microsecond lies between
# those that come in together: a claim takes the first of them without sorting all.
INSERT = """
WITH added AS (
    INSERT INTO django_q_ormq ("key", payload, "lock", priority)
    SELECT %s, one.payload, (one.place + %s) * interval '1 microsecond' + (
        SELECT COALESCE(%s, clock_timestamp() - %s * interval '1 microsecond')
    ), %s
    FROM unnest(%s::text[]) WITH ORDINALITY AS one(payload, place)
    ORDER BY one.place RETURNING id
)
SELECT id, CASE WHEN %s THEN (SELECT pg_notify(%s, '') IS NULL) END FROM added
"""
TELL = "SELECT pg_notify(%s, '')"

# MATERIALIZED: the planner may run a plain subquery with a LIMIT more than once. By "lock" alone,
# which the index has in order; with the id, too, it would sort all that share the first time.
CLAIM = """
WITH picked AS MATERIALIZED (
    SELECT id, "lock" AS available, claim AS held FROM django_q_ormq
    WHERE "key" = %s AND priority = %s AND "lock" <= %s AND (%s OR claim IS NULL)
    ORDER BY "lock" LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE django_q_ormq AS queued
SET "lock" = %s, claim = %s,
    lapses = queued.lapses + CASE WHEN picked.held IS NULL THEN 0 ELSE 1 END
FROM picked WHERE queued.id = picked.id
RETURNING extract(epoch FROM picked.available)::float8,
    queued.id, queued.payload, queued.lapses, queued.attempts
"""

# Each names the row it changes only once: what others change meanwhile is compared anew.
NAMED = "unnest(%s::bigint[], %s::bigint[]) AS named(id, claim)"
IS_HELD = "queued.id = named.id AND (named.claim IS NULL OR named.claim = queued.claim)"
DELETE = f"""
DELETE FROM django_q_ormq AS queued USING {NAMED} WHERE {IS_HELD}
RETURNING queued.id, queued.claim
"""

# Rows that others have locked are being settled or renewed just now: a renewal never waits.
EXTEND = f"""
WITH held AS MATERIALIZED (
    SELECT queued.id FROM django_q_ormq AS queued JOIN {NAMED} ON {IS_HELD}
    FOR UPDATE OF queued SKIP LOCKED
)
UPDATE django_q_ormq SET "lock" = %s WHERE id IN (SELECT id FROM held) RETURNING id, claim
"""
RELEASE = f"""
WITH held AS MATERIALIZED (
    SELECT queued.id, queued.claim FROM django_q_ormq AS queued JOIN {NAMED} ON {IS_HELD}
    ORDER BY queued.id FOR UPDATE OF queued
), released AS (
    UPDATE django_q_ormq AS queued
    SET "lock" = %s, claim = NULL, attempts = queued.attempts + %s
    FROM held WHERE queued.id = held.id RETURNING held.id, held.claim
)
SELECT id, claim, CASE WHEN %s THEN (SELECT pg_notify(%s, '') IS NULL) END FROM released
"""


class PostgreSQLTable(SkipLockedTable):
    """Statements written out; those that put something in tell who listens."""

    dates_packages = True

    def __init__(self, alias: str, key: str) -> None:
        super().__init__(alias, key)
        self.channel = channel_of(key)

    # Putting in

    def insert(self, payload: str, lock: datetime | None, priority: int) -> int:
        return self._insert([payload], lock, priority)[0]

    def insert_many(
        self, payloads: Sequence[str], lock: datetime | None, priority: int
    ) -> list[int]:
        if len(payloads) <= INSERTED_AT_ONCE:
            return self._insert(payloads, lock, priority) if payloads else []
        return transact(self.alias, lambda: self._insert_parts(payloads, lock, priority))

    def _insert_parts(
        self, payloads: Sequence[str], lock: datetime | None, priority: int
    ) -> list[int]:
        ids: list[int] = []
        for start in range(0, len(payloads), INSERTED_AT_ONCE):
            part = payloads[start : start + INSERTED_AT_ONCE]
            ids += self._insert(part, lock, priority, start if lock else 0)
        return ids

    def _insert(
        self, payloads: Sequence[str], lock: datetime | None, priority: int, place: int = 0
    ) -> list[int]:
        tells = self._tells()
        at = lock and stored(lock)
        rows = (self.key, place, at, len(payloads), priority, list(payloads))
        found = self._run(INSERT, (*rows, tells, self.channel))
        self._note_telling(tells)
        return sorted(row[0] for row in found)

    def _tells(self) -> bool:
        """Shall this statement tell those who wait? A process tells so much at most.

        Who was told looks again for long enough to find what follows. In a transaction always:
        it may take its time until the commit, and the server tells once.
        """
        if self.connection.in_atomic_block:
            return True
        last = told_at.get((self.alias, self.key), float("-inf"))
        return time.monotonic() - last >= TELL_APART_SECONDS

    def _note_telling(self, told: bool) -> None:
        if self.connection.in_atomic_block:
            return
        now = time.monotonic()
        if not told:
            if now - told_at[self.alias, self.key] < NOTIFIED_SECONDS / 2:
                return
            # It took so long that those who were told before may wait again already.
            self._run(TELL, (self.channel,))
        told_at[self.alias, self.key] = now

    # Claiming

    def due(self, now: datetime) -> Due:
        found = self._fetch(LEVELS, (self.key,) * 4)
        return due_of([(level, aware(at), bool(lack)) for level, at, lack in found], now)

    def take(self, wanted: Wanted, until: Until, claim: int) -> list[Taken]:
        if callable(until):
            return super().take(wanted, until, claim)
        which = (self.key, wanted.priority, stored(wanted.now), wanted.lapsed, wanted.limit)
        found = self._run(CLAIM, (*which, stored(until), claim))
        return [Taken(*row[1:]) for row in sorted(found, key=lambda row: row[:2])]

    # Settling

    def delete(self, claims: Sequence[Claimed]) -> set[Claimed]:
        return _settled(claims, self._run(DELETE, _columns(claims)))

    def change(self, claims: Sequence[Claimed], change: Change) -> set[Claimed]:
        lock = stored(change.lock)
        if change.free:
            values = (*_columns(claims), lock, change.attempts, change.soon, self.channel)
            return _settled(claims, self._run(RELEASE, values))
        extended = _settled(claims, self._run(EXTEND, (*_columns(claims), lock)))
        missed = set(claims) - extended
        return extended | self._still_held(missed, self.rows) if missed else extended

    def _run(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """One statement is a transaction of its own, if it is in none of the caller's."""
        if self.connection.in_atomic_block:
            return self._fetch(statement, values)
        return insist(lambda: self._fetch(statement, values))

    def _fetch(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows


def _columns(claims: Sequence[Claimed]) -> tuple[list[int], list[int | None]]:
    """Claims as two parameters, however many they are."""
    return [claimed.id for claimed in claims], [claimed.claim for claimed in claims]


def _settled(claims: Sequence[Claimed], found: Sequence[tuple[Any, ...]]) -> set[Claimed]:
    held = {row[0]: row[1] for row in found}
    return {
        claimed
        for claimed in claims
        if claimed.id in held and claimed.claim in (None, held[claimed.id])
    }
