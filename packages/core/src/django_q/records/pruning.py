"""Keeps the table of finished tasks at its limits, by a few statements that load no row."""

from __future__ import annotations

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


def prune(settings: Settings, using: str, since: datetime | None = None) -> int:
    """Delete the oldest finished tasks beyond the limits; return how many.

    With `save_limit_per`, `since` restricts it to groups (names, functions) of which a task has
    ended since then: pass the time of the last call less a minute.
    """
    from django_q.models import Failure, Success  # needs the app registry

    deleted = 0
    if settings.save_limit > 0:
        for part in _parts(Success, settings, using, since):
            deleted += _prune_part(part, settings.save_limit, using)
    if settings.failure_limit > 0:
        deleted += _prune_part(_Part(Failure), settings.failure_limit, using)
    return deleted


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


def _prune_part(part: _Part, limit: int, using: str) -> int:
    newest_first = part.ranked(using).order_by("-stopped", "-id")
    cutoff = newest_first.values_list("stopped", "id")[limit : limit + 1].first()
    if cutoff is None:
        return 0
    delete = _delete_chunk if _deletes_plainly(part, using) else _delete_chunk_by_django
    deleted = 0
    while True:
        # A transaction for each chunk: whoever else writes waits for milliseconds only.
        count = databases.transact(using, partial(delete, part, cutoff, using))
        deleted += count
        if count < CHUNK_ROWS:
            return deleted


def _deletes_plainly(part: _Part, using: str) -> bool:
    """Does nothing of the site's hang on a task: no foreign key, no receiver of deletions?"""
    return Collector(using=using).can_fast_delete(part.tasks(using))


def _delete_chunk(part: _Part, cutoff: tuple[datetime, str], using: str) -> int:
    connection = connections[using]
    table, columns = _names(connection)
    where, params = _conditions(part, cutoff, connection, columns)
    oldest = (
        f"SELECT {columns['id']} FROM {table} WHERE {where} ORDER BY {columns['stopped']} "
        f"{connection.ops.limit_offset_sql(0, CHUNK_ROWS)}{_skip_locked(connection)}"
    )
    # MySQL reads no table that it deletes from, but for a derived one, and no LIMIT after IN.
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {table} WHERE {columns['id']} IN "
            f"(SELECT {columns['id']} FROM ({oldest}) {connection.ops.quote_name('oldest')})",
            params,
        )
        return int(cursor.rowcount)


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


def _delete_chunk_by_django(part: _Part, cutoff: tuple[datetime, str], using: str) -> int:
    stopped, last_id = cutoff
    doomed = part.tasks(using).filter(Q(stopped__lt=stopped) | Q(stopped=stopped, id__lte=last_id))
    ids = list(doomed.order_by("stopped").values_list("pk", flat=True)[:CHUNK_ROWS])
    part.model._default_manager.using(using).filter(pk__in=ids).delete()
    return len(ids)


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
