"""Deletes finished tasks chunk by chunk: a transaction each, and no row is loaded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections
from django.db.models import Q
from django.db.models.deletion import Collector

from django_q import databases

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

CHUNK_ROWS = 500
LONGEST_PAUSE_SECONDS = 0.02


class Part(NamedTuple):
    """The tasks that one limit applies to."""

    model: type[Model]
    """Success or Failure."""
    field: str | None = None
    value: str | None = None

    @property
    def success(self) -> bool:
        return self.model.__name__ == "Success"

    def tasks(self, using: str) -> QuerySet[Any]:
        tasks = self.model._default_manager.using(using)
        if self.field is not None:
            return tasks.filter(**{self.field: self.value})
        # Django writes `success=True` as a bare column, for which SQLite uses no index.
        return tasks.filter(success__in=[self.success])


@dataclass(frozen=True)
class Bounds:
    """Which of them, by the time at which they ended; those of no bounds are all of them."""

    before: datetime | None = None
    """Ended before then."""
    up_to: tuple[datetime, str] | None = None
    """Ended then at the latest, with an id that is not higher."""
    since: datetime | None = None
    """And not before then: what did is somebody else's."""

    def condition(self) -> Q:
        """The same for a QuerySet."""
        found = Q()
        if self.before is not None:
            found &= Q(stopped__lt=self.before)
        if self.up_to is not None:
            stopped, last_id = self.up_to
            found &= Q(stopped__lte=stopped) & (Q(stopped__lt=stopped) | Q(id__lte=last_id))
        if self.since is not None:
            found &= Q(stopped__gte=self.since)
        return found


class Target(NamedTuple):
    """Tasks that are to be deleted."""

    part: Part
    bounds: Bounds

    def count(self, using: str) -> int:
        """How many there are."""
        return self.part.tasks(using).filter(self.bounds.condition()).order_by().count()


def delete(target: Target, using: str, chunk_rows: int = CHUNK_ROWS) -> Iterator[int]:
    """Delete them, and say after each chunk how many rows it had.

    The oldest go first, but for the parts of one group and no limit: to sort all that is left of
    a large group for each chunk would take longer than to delete it.
    """
    connection = connections[using]
    size = _allowed(chunk_rows, connection)
    oldest = _stored(target.bounds.since, connection)
    count = size
    while count == size:
        began = time.monotonic()
        # A transaction for each chunk: whoever else writes waits for milliseconds only.
        count, oldest = databases.transact(
            using, partial(_delete_chunk, target, oldest, size, using)
        )
        yield count
        if count == size:
            # And gets its turn: who asks for SQLite's lock every millisecond misses short gaps.
            time.sleep(min(time.monotonic() - began, LONGEST_PAUSE_SECONDS))


def _allowed(chunk_rows: int, connection: Any) -> int:
    """So many rows, or as many ids as the database takes in one statement."""
    most = (connection.features.max_query_params, connection.ops.max_in_list_size())
    return min([chunk_rows, *(int(each) for each in most if each)])


def _delete_chunk(target: Target, oldest: Any, size: int, using: str) -> tuple[int, Any]:
    """Delete a chunk; return how many rows it had, and when the newest of them ended."""
    rows = _pick_chunk(target, oldest, size, using)
    if not rows:
        return 0, oldest
    ids = [row_id for row_id, _ in rows]
    if _deletes_plainly(target.part, using):
        _delete_plainly(ids, using)
    else:
        target.part.model._default_manager.using(using).filter(pk__in=ids).delete()
    return len(rows), rows[-1][1] if _is_sorted(target) else oldest


def _is_sorted(target: Target) -> bool:
    return target.part.field is None or target.bounds.up_to is not None


def _deletes_plainly(part: Part, using: str) -> bool:
    """Does nothing of the site's hang on a task: no foreign key, no receiver of deletions?"""
    return Collector(using=using).can_fast_delete(part.tasks(using))


def _pick_chunk(target: Target, oldest: Any, size: int, using: str) -> list[tuple[str, Any]]:
    """Lock the oldest rows and return their ids, and when they ended as the driver says it."""
    connection = connections[using]
    table, columns = _names(connection)
    where, params = _conditions(target, connection, columns)
    if oldest is not None:
        # What the last chunk deleted still stands in the index, until the database clears it up.
        where += f" AND {columns['stopped']} >= %s"
        params.append(oldest)
    order = f"ORDER BY {columns['stopped']} " if _is_sorted(target) else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns['id']}, {columns['stopped']} FROM {table} WHERE {where} {order}"
            f"{connection.ops.limit_offset_sql(0, size)}{_skip_locked(connection)}",
            params,
        )
        return list(cursor.fetchall())


def _delete_plainly(ids: list[str], using: str) -> None:
    # By values: from a subquery MariaDB looks at, and locks, every row of the table.
    connection = connections[using]
    table, columns = _names(connection)
    places = ", ".join(["%s"] * len(ids))
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE {columns['id']} IN ({places})", ids)


def _conditions(target: Target, connection: Any, columns: dict[str, str]) -> tuple[str, list[Any]]:
    part, bounds = target
    params: list[Any] = []
    if part.field is None or connection.vendor == "oracle":
        where = f"{columns['success']} = %s"
        params.append(part.success)
    else:
        # A bare column keeps SQLite from preferring the index on it to the one on the field.
        where = columns["success"] if part.success else f"NOT {columns['success']}"
    if part.field is not None:
        where += f" AND {columns[part.field]} " + ("IS NULL" if part.value is None else "= %s")
        params += [] if part.value is None else [part.value]
    if bounds.before is not None:
        where += f" AND {columns['stopped']} < %s"
        params.append(_stored(bounds.before, connection))
    if bounds.up_to is not None:
        stopped, last_id = bounds.up_to
        moment = _stored(stopped, connection)
        # The first condition on `stopped` is what an index serves, the second settles ties.
        where += " AND {stopped} <= %s AND ({stopped} < %s OR {id} <= %s)".format(**columns)
        params += [moment, moment, last_id]
    return where, params


def _stored(moment: datetime | None, connection: Any) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def _skip_locked(connection: Any) -> str:
    # Oracle can skip locked rows, but not beside a row limit.
    if connection.vendor == "oracle" or not connection.features.has_select_for_update_skip_locked:
        return ""
    return f" {connection.ops.for_update_sql(skip_locked=True)}"


def _names(connection: Any) -> tuple[str, dict[str, str]]:
    from django_q.models import Task  # needs the app registry

    quote = connection.ops.quote_name
    columns = {field.name: quote(str(field.column)) for field in Task._meta.concrete_fields}
    return quote(Task._meta.db_table), columns
