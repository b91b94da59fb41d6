"""The schedules of one queue as rows of their table, of which many are changed at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connections, router
from django.db.models import Count, Min, Q, QuerySet

from django_q import databases
from django_q.cluster.planning import Occurrence
from django_q.conf import Settings
from django_q.models import Schedule


class ScheduleTable:
    """What is asked of the table and changed in it; a row that was `set_aside` is not there."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.using = router.db_for_write(Schedule)
        self.set_aside: set[int] = set()

    def transact(self, work: Callable[[], Any]) -> Any:
        """Run `work` in one transaction; it may run again, and does nothing but database work."""
        return databases.transact(self.using, work)

    # What is asked

    def survey(self) -> tuple[datetime | None, int]:
        """When the first row is due, and how many occurrences are stored: one query."""
        facts = databases.insist(
            lambda: self._rows().aggregate(
                earliest=Min("next_run", filter=_runnable()),
                stored=Count("pk", filter=Q(occurrence_task__isnull=False)),
            )
        )
        return facts["earliest"], facts["stored"]

    def oldest(self, skipped: int, count: int) -> list[Schedule]:
        """The rows that are due first, whether or not they are due already."""
        rows = self._rows().filter(_runnable()).order_by("next_run", "pk")
        return databases.insist(lambda: list(rows[skipped : skipped + count]))

    def with_stored_occurrence(self) -> list[Schedule]:
        """The rows of which an occurrence is being queued, or was when its cluster died."""
        rows = self._rows().filter(occurrence_task__isnull=False)
        return databases.insist(lambda: list(rows))

    def _rows(self) -> QuerySet[Schedule]:
        """The rows of this queue that nothing is wrong with."""
        mine = Q(cluster=self.settings.cluster_name)
        if self.settings.cluster_name == self.settings.name:
            mine |= Q(cluster__isnull=True) | Q(cluster="")
        rows = self._all().filter(mine, error__isnull=True)
        return rows.exclude(pk__in=self.set_aside) if self.set_aside else rows

    def _all(self) -> QuerySet[Schedule]:
        return Schedule.objects.using(self.using)

    # What is changed, in the caller's transaction

    def take(self, occurrences: Sequence[Occurrence]) -> list[Occurrence]:
        """Lock the rows that still are what they were when these were planned.

        What another cluster, or an admin, has locked is passed over and not waited for. SQLite
        has locked everything when the transaction began.
        """
        rows = self._all().filter(
            pk__in=[each.row.pk for each in occurrences],
            occurrence_task__isnull=True,
            error__isnull=True,
        )
        features = connections[self.using].features
        if features.has_select_for_update:
            # By ascending key, so that two who cannot pass over each other do not deadlock.
            rows = rows.order_by("pk").select_for_update(
                skip_locked=features.has_select_for_update_skip_locked
            )
        found = {pk: state for pk, *state in rows.values_list("pk", "next_run", "repeats")}
        return [
            each
            for each in occurrences
            if found.get(each.row.pk) == [each.row.next_run, each.row.repeats]
        ]

    def advance(self, occurrences: Sequence[Occurrence]) -> None:
        """Move rows on that were taken; no occurrence is stored."""
        spent = [each.row.pk for each in occurrences if is_deleted_after(each.row)]
        if spent:
            self._all().filter(pk__in=spent).delete()
        # Kept as the occurrence before the next, whose wall-clock time it tells.
        self._change_each(
            (each.row.pk, each.after | {"task": each.task_id, "occurrence": each.due})
            for each in occurrences
            if not is_deleted_after(each.row)
        )

    def store(self, occurrences: Sequence[Occurrence]) -> None:
        """Move rows on that were taken, and store in each what it has come to."""
        self._change_each((each.row.pk, _with_occurrence(each)) for each in occurrences)

    def settle(self, occurrences: Sequence[Occurrence]) -> int:
        """Clear what is stored, and with it rows that have run their only time; how many were."""
        stored = self._all().filter(
            pk__in=[each.row.pk for each in occurrences],
            occurrence_task__in=[each.task_id for each in occurrences],
        )
        gone = 0
        if any(is_deleted_after(each.row) for each in occurrences):
            # A next run that somebody has given it meanwhile is still to come.
            gone, _ = stored.filter(
                next_run__isnull=True, schedule_type=Schedule.ONCE, repeats__lt=0
            ).delete()
        if gone == len(occurrences):
            return gone
        return gone + stored.update(occurrence_task=None)

    def mark(self, row: Schedule, text: str) -> bool:
        """Keep in the row what is wrong with it; False if another cluster was faster."""
        same = self._all().filter(pk=row.pk, error__isnull=True)
        return bool(databases.transact(self.using, lambda: same.update(error=text)))

    def _change_each(self, changes: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Give each row its own values: one call of the driver for all that change the same
        columns, which is one round trip where the driver can."""
        connection = connections[self.using]
        by_columns: dict[tuple[str, ...], list[list[Any]]] = {}
        for pk, values in changes:
            stored = [
                _field(name).get_db_prep_save(value, connection) for name, value in values.items()
            ]
            by_columns.setdefault(tuple(values), []).append([*stored, pk])
        with connection.cursor() as cursor:
            for names, rows in by_columns.items():
                cursor.executemany(_update(names, connection.ops.quote_name), rows)


def is_deleted_after(row: Schedule) -> bool:
    """A ONCE schedule with negative repeats leaves nothing behind."""
    return row.schedule_type == Schedule.ONCE and row.repeats < 0


def _with_occurrence(occurrence: Occurrence) -> dict[str, Any]:
    # A row without a next run is due no more, and can still be told to be deleted.
    is_spent = is_deleted_after(occurrence.row)
    after = {"next_run": None} if is_spent else occurrence.after
    return after | {
        "task": occurrence.task_id,
        "occurrence": occurrence.due,
        "occurrence_task": occurrence.task_id,
    }


def _runnable() -> Q:
    return Q(next_run__isnull=False, occurrence_task__isnull=True) & ~Q(repeats=0)


def _field(name: str) -> Any:  # django-stubs takes it for the end of any relation
    return Schedule._meta.get_field(name)


def _update(names: Iterable[str], quote: Callable[[str], str]) -> str:
    changed = ", ".join(f"{quote(_field(name).column)} = %s" for name in names)
    key = quote(_field("id").column)
    return f"UPDATE {quote(Schedule._meta.db_table)} SET {changed} WHERE {key} = %s"
