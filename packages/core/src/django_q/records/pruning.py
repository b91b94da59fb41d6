"""Keeps the table of finished tasks at its limits, by a few statements that load no row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections
from django.db.models import Count, Q
from django.db.models.deletion import Collector
from django.db.models.functions import Coalesce

from django_q import databases
from django_q.conf import Settings

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

CHUNK_ROWS = 500
KEYS_PER_PASS = 1000
"""How many groups, names or functions one call brings down to the limit."""
LONGEST_PAUSE_SECONDS = 0.02


def prune(settings: Settings, using: str, since: datetime | None = None) -> int:
    """Delete the oldest finished tasks beyond the limits; return how many.

    With `save_limit_per`, `since` restricts it to groups (names, functions) of which a task has
    ended since then: pass the time of the last call less a minute.
    """
    return sum(_chunks(settings, using, since))


def prune_for(
    seconds: float, settings: Settings, using: str, since: datetime | None = None
) -> bool:
    """Prune for about so long; return whether all is done, so that no call is needed again."""
    deadline = time.monotonic() + seconds
    return all(time.monotonic() < deadline for _ in _chunks(settings, using, since))


def _chunks(settings: Settings, using: str, since: datetime | None) -> Iterator[int]:
    """Delete chunk by chunk, and say each time how many rows it had."""
    from django_q.models import Failure, Success  # needs the app registry

    if settings.save_limit > 0:
        for part in _parts(Success, settings, using, since):
            yield from _prune_part(part, settings.save_limit, using)
    if settings.failure_limit > 0:
        yield from _prune_part(_Part(Failure), settings.failure_limit, using)


class _Part(NamedTuple):
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

    def ranked(self, using: str) -> QuerySet[Any]:
        """The same tasks, asked for so that the index on the field is read in its order."""
        from django_q.models import Task

        if self.field is None:
            return self.tasks(using)
        # Django 6.1 writes `success = 1`, and SQLite prefers the index on that to the field's:
        # hidden in an expression it serves no index.
        hidden = Task._default_manager.using(using).alias(is_success=Coalesce("success", False))
        return hidden.filter(is_success=self.success, **{self.field: self.value})


def _parts(
    model: type[Model], settings: Settings, using: str, since: datetime | None
) -> list[_Part]:
    """The parts that exceed the limit, or all successes where it is one limit for all."""
    field = settings.save_limit_per
    if field is None:
        return [_Part(model)]
    tasks = model._default_manager.using(using)
    if since is not None:
        touched = tasks.filter(stopped__gte=since).order_by().values(field)
        tasks = tasks.filter(Q((f"{field}__in", touched)) | Q((f"{field}__isnull", True)))
    exceeding = (
        tasks.order_by()
        .values_list(field)
        .annotate(finished=Count("pk"))
        .filter(finished__gt=settings.save_limit)
    )
    return [_Part(model, field, value) for value, _ in exceeding[:KEYS_PER_PASS]]


def _prune_part(part: _Part, limit: int, using: str) -> Iterator[int]:
    newest_first = part.ranked(using).order_by("-stopped", "-id")
    cutoff = newest_first.values_list("stopped", "id")[limit : limit + 1].first()
    if cutoff is None:
        return
    oldest: Any = None
    count = CHUNK_ROWS
    while count == CHUNK_ROWS:
        began = time.monotonic()
        # A transaction for each chunk: whoever else writes waits for milliseconds only.
        count, oldest = databases.transact(
            using, partial(_delete_chunk, part, cutoff, oldest, using)
        )
        yield count
        if count == CHUNK_ROWS:
            # And gets its turn: who asks for SQLite's lock every millisecond misses short gaps.
            time.sleep(min(time.monotonic() - began, LONGEST_PAUSE_SECONDS))


def _delete_chunk(
    part: _Part, cutoff: tuple[datetime, str], oldest: Any, using: str
) -> tuple[int, Any]:
    """Delete a chunk; return how many rows it had, and when the newest of them ended."""
    rows = _pick_chunk(part, cutoff, oldest, using)
    if not rows:
        return 0, oldest
    ids = [row_id for row_id, _ in rows]
    if _deletes_plainly(part, using):
        _delete_plainly(ids, using)
    else:
        part.model._default_manager.using(using).filter(pk__in=ids).delete()
    return len(rows), rows[-1][1]


def _deletes_plainly(part: _Part, using: str) -> bool:
    """Does nothing of the site's hang on a task: no foreign key, no receiver of deletions?"""
    return Collector(using=using).can_fast_delete(part.tasks(using))


def _pick_chunk(
    part: _Part, cutoff: tuple[datetime, str], oldest: Any, using: str
) -> list[tuple[str, Any]]:
    """Lock the oldest rows and return their ids, and when they ended as the driver says it."""
    connection = connections[using]
    table, columns = _names(connection)
    where, params = _conditions(part, cutoff, connection, columns)
    if oldest is not None:
        # What the last chunk deleted still stands in the index, until the database clears it up.
        where += f" AND {columns['stopped']} >= %s"
        params.append(oldest)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns['id']}, {columns['stopped']} FROM {table} WHERE {where} "
            f"ORDER BY {columns['stopped']} "
            f"{connection.ops.limit_offset_sql(0, CHUNK_ROWS)}{_skip_locked(connection)}",
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


def _conditions(
    part: _Part, cutoff: tuple[datetime, str], connection: Any, columns: dict[str, str]
) -> tuple[str, list[Any]]:
    stopped, last_id = cutoff
    moment = connection.ops.adapt_datetimefield_value(stopped)
    # The first condition on `stopped` is what an index serves, the second settles ties.
    where = "{stopped} <= %s AND ({stopped} < %s OR {id} <= %s)".format(**columns)
    params = [moment, moment, last_id]
    if part.field is None or connection.vendor == "oracle":
        where += f" AND {columns['success']} = %s"
        params.append(part.success)
    else:
        # A bare column keeps SQLite from preferring the index on it to the one on the field.
        where += f" AND {columns['success']}" if part.success else f" AND NOT {columns['success']}"
    if part.field is not None:
        where += f" AND {columns[part.field]} " + ("IS NULL" if part.value is None else "= %s")
        params += [] if part.value is None else [part.value]
    return where, params


def _skip_locked(connection: Any) -> str:
    # Oracle can skip locked rows, but not beside a row limit.
    if connection.vendor == "oracle" or not connection.features.has_select_for_update_skip_locked:
        return ""
    return f" {connection.ops.for_update_sql(skip_locked=True)}"


def _names(connection: Any) -> tuple[str, dict[str, str]]:
    from django_q.models import Task

    quote = connection.ops.quote_name
    columns = {field.name: quote(str(field.column)) for field in Task._meta.concrete_fields}
    return quote(Task._meta.db_table), columns
