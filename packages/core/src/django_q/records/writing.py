"""Writes a batch of outcomes in as few statements as it takes.

First attempts are one INSERT of many rows, at a tenth of what `bulk_create` costs. Only what was
attempted before is compared with what is recorded. A success is never overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections

from django_q.records.rows import Outcome, Recorded, Row

if TYPE_CHECKING:
    from django.db.models import Model

IDS_PER_QUERY = 500
UTC = timezone.utc  # noqa: UP017 - compared by identity below


def write(outcomes: Sequence[Outcome], using: str) -> list[Recorded]:
    """Record outcomes inside the caller's transaction; say of each what became of it.

    Raises DatabaseError as it comes. An IntegrityError means that an outcome which called itself
    the first is recorded already: roll back and write `cautious(outcomes)`.
    """
    verdicts = [Recorded.NEW] * len(outcomes)
    connection = connections[using]
    first_rows: list[Outcome] = []
    first_items: list[Outcome] = []
    repeated_rows: list[int] = []
    repeated_items: list[int] = []
    for position, outcome in enumerate(outcomes):
        if outcome.item is not None:
            if outcome.first:
                first_items.append(outcome)
            else:
                repeated_items.append(position)
        elif outcome.saved:
            if outcome.first:
                first_rows.append(outcome)
            else:
                repeated_rows.append(position)
    if first_rows:
        insert_rows(connection, first_rows)
    if first_items:
        _insert_items(connection, first_items)
    if repeated_rows:
        _write_repeated_rows(connection, outcomes, repeated_rows, verdicts)
    if repeated_items:
        _write_repeated_items(connection, outcomes, repeated_items, verdicts)
    return verdicts


class _Known(NamedTuple):
    """What is recorded of a task already."""

    stopped: datetime
    attempt_count: int
    success: bool

    def judge(self, row: Row) -> Recorded:
        if self.stopped == row.stopped and self.attempt_count >= row.attempt_count:
            return Recorded.SAME
        return Recorded.SUPERSEDED if self.success else Recorded.NEW


def insert_rows(connection: Any, outcomes: Sequence[Outcome]) -> None:
    """Insert a Task row for each outcome in one statement."""
    stored = _datetime_adapter(connection)
    _insert_many(
        connection,
        _task_statements(connection.vendor).insert,
        [
            (
                *outcome.row[:10],
                stored(outcome.row.started),
                stored(outcome.row.stopped),
                outcome.row.success,
                outcome.row.attempt_count,
                1 if outcome.worker_death else 0,
            )
            for outcome in outcomes
        ],
    )


def _insert_items(connection: Any, outcomes: Sequence[Outcome]) -> None:
    stored = _datetime_adapter(connection)
    _insert_many(
        connection,
        _item_statements(connection.vendor).insert,
        [
            (
                outcome.row.id,
                outcome.item.group,
                outcome.item.index,
                outcome.row.success,
                outcome.row.args,
                outcome.row.result,
                stored(outcome.row.stopped),
            )
            for outcome in outcomes
            if outcome.item is not None
        ],
    )


def _write_repeated_rows(
    connection: Any, outcomes: Sequence[Outcome], positions: list[int], verdicts: list[Recorded]
) -> None:
    from django_q.models import Task  # needs the app registry

    known = {
        task_id: _Known(*rest)
        for task_id, *rest in _select(
            connection,
            Task,
            [outcomes[position].row.id for position in positions],
            ("id", "stopped", "attempt_count", "success"),
        )
    }
    new: list[Outcome] = []
    changed: list[tuple[int, int]] = []
    for position in positions:
        row = outcomes[position].row
        earlier = known.get(row.id)
        if earlier is None:
            new.append(outcomes[position])
        else:
            verdicts[position] = earlier.judge(row)
            if verdicts[position] is not Recorded.NEW:
                continue
            # The number is absolute, but a late result of an earlier attempt must not lower it.
            changed.append((position, max(earlier.attempt_count, row.attempt_count)))
        known[row.id] = _Known(row.stopped, row.attempt_count, row.success)
    if new:
        insert_rows(connection, new)
    for position, attempt_count in changed:
        if not _update_row(connection, outcomes[position], attempt_count):
            verdicts[position] = Recorded.SUPERSEDED


def _update_row(connection: Any, outcome: Outcome, attempt_count: int) -> bool:
    """Replace a recorded failure; False when a success was recorded in the meantime."""
    row = outcome.row
    with connection.cursor() as cursor:
        cursor.execute(
            _task_statements(connection.vendor).update,
            (
                row.result,
                row.cluster,
                _datetime_adapter(connection)(row.stopped),
                row.success,
                attempt_count,
                1 if outcome.worker_death else 0,
                row.id,
                False,
            ),
        )
        return bool(cursor.rowcount)


def _write_repeated_items(
    connection: Any, outcomes: Sequence[Outcome], positions: list[int], verdicts: list[Recorded]
) -> None:
    from django_q.models import IterItem, Task

    items = [(position, outcomes[position], outcomes[position].item) for position in positions]
    known = {
        task_id: _Known(stopped, outcomes[0].row.attempt_count, success)
        for task_id, stopped, success in _select(
            connection,
            IterItem,
            [outcome.row.id for _, outcome, _ in items],
            ("task_id", "created", "success"),
        )
    }
    groups = sorted({item.group for _, _, item in items if item is not None})
    completed = {group for (group,) in _select(connection, Task, groups, ("id",))}
    new: list[Outcome] = []
    for position, outcome, item in items:
        earlier = known.get(outcome.row.id)
        if item is None or item.group in completed:
            verdicts[position] = Recorded.SUPERSEDED
        elif earlier is None:
            new.append(outcome)
            known[outcome.row.id] = _Known(outcome.row.stopped, 0, outcome.row.success)
        elif earlier.stopped == outcome.row.stopped:
            verdicts[position] = Recorded.SAME
        elif earlier.success or not _update_item(connection, outcome):
            verdicts[position] = Recorded.SUPERSEDED
    if new:
        _insert_items(connection, new)


def _update_item(connection: Any, outcome: Outcome) -> bool:
    row = outcome.row
    with connection.cursor() as cursor:
        cursor.execute(
            _item_statements(connection.vendor).update,
            (row.success, row.result, _datetime_adapter(connection)(row.stopped), row.id, False),
        )
        return bool(cursor.rowcount)


def _select(
    connection: Any, model: type[Model], keys: list[str], columns: tuple[str, ...]
) -> Iterable[Any]:
    for start in range(0, len(keys), IDS_PER_QUERY):
        yield from (
            model._default_manager.using(connection.alias)
            .filter(pk__in=keys[start : start + IDS_PER_QUERY])
            .order_by()
            .values_list(*columns)
        )


# Statements


class _Insert(NamedTuple):
    head: str
    """Up to and with VALUES."""
    values: str


class _Statements(NamedTuple):
    insert: _Insert
    update: str


@cache
def _task_statements(vendor: str) -> _Statements:
    from django_q.models import Task

    return _Statements(
        _insert_into(vendor, Task, [*Row._fields, "worker_deaths"]),
        _sql(
            vendor,
            Task,
            "UPDATE {table} SET {result} = %s, {cluster} = %s, {stopped} = %s, {success} = %s, "
            "{attempt_count} = %s, {worker_deaths} = {worker_deaths} + %s "
            "WHERE {id} = %s AND {success} = %s",
        ),
    )


@cache
def _item_statements(vendor: str) -> _Statements:
    from django_q.models import IterItem

    columns = ["task_id", "group", "index", "success", "args", "result", "created"]
    return _Statements(
        _insert_into(vendor, IterItem, columns),
        _sql(
            vendor,
            IterItem,
            "UPDATE {table} SET {success} = %s, {result} = %s, {created} = %s "
            "WHERE {task_id} = %s AND {success} = %s",
        ),
    )


def _insert_into(vendor: str, model: type[Model], fields: list[str]) -> _Insert:
    columns = ", ".join(f"{{{field}}}" for field in fields)
    return _Insert(
        _sql(vendor, model, f"INSERT INTO {{table}} ({columns}) VALUES "),
        f"({', '.join(['%s'] * len(fields))})",
    )


def _sql(vendor: str, model: type[Model], template: str) -> str:
    """Fill in the quoted names of a model's table and columns."""
    quote = next(
        connection.ops.quote_name for connection in connections.all() if connection.vendor == vendor
    )
    names = {field.name: quote(str(field.column)) for field in model._meta.concrete_fields}
    return template.format(table=quote(model._meta.db_table), **names)


def _insert_many(connection: Any, insert: _Insert, rows: list[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Its drivers send one statement per row of an executemany.
            text = insert.head + ", ".join([insert.values] * len(rows))
            cursor.execute(text, [value for row in rows for value in row])
        else:
            cursor.executemany(insert.head + insert.values, rows)


def _datetime_adapter(connection: Any) -> Callable[[datetime], Any]:
    """What turns a datetime into what the driver takes, as `DateTimeField` has it stored."""
    adapt: Callable[[datetime], Any] = connection.ops.adapt_datetimefield_value
    if connection.vendor != "sqlite" or connection.timezone is not UTC:
        return adapt

    def adapt_utc(moment: datetime) -> Any:
        # The same text in a quarter of the time.
        return str(moment)[:-6] if moment.tzinfo is UTC else adapt(moment)

    return adapt_utc
