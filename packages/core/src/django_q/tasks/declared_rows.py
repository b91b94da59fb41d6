"""Brings the table of schedules into line with what code declares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import router
from django.db.models import Q
from django.utils import timezone

from django_q.databases import transact
from django_q.models import ClusterStatus, Schedule
from django_q.readiness import explain_database_errors
from django_q.tasks.declarations import TIMING, Declaration, declarations, discover

LOCK = "declared schedules"
"""The row that is held by who changes declared schedules: two `migrate` may run at once."""

ByName = dict[str, list[Schedule]]


@dataclass
class SyncReport:
    """What was done, by the names of the schedules; what could not be, by a sentence each."""

    created: list[str] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def is_idle(self) -> bool:
        """Does the table agree already?"""
        return not (self.created or self.adopted or self.changed or self.deleted)


def sync(*, dry_run: bool = False) -> SyncReport:
    """Make the table agree with what the apps' `tasks` modules declare, in one transaction.

    While one of those modules cannot be imported, nothing is deleted: what is no longer declared
    may be declared there.
    """
    failed = discover()
    failures = [f"{module} cannot be imported: {reason}" for module, reason in failed.items()]
    declared = []
    for declaration in declarations():
        problem = declaration.problem()
        if problem is None:
            declared.append(declaration)
        else:
            failures.append(problem)
    using = router.db_for_write(Schedule)
    with explain_database_errors(using):
        return _sync(declared, failures, using, may_delete=not failures, dry_run=dry_run)


def _sync(
    declared: list[Declaration], failures: list[str], using: str, *, may_delete: bool, dry_run: bool
) -> SyncReport:
    def look() -> Changes:
        changes = Changes(declared, using, may_delete)
        changes.report.failures[:0] = failures
        return changes

    def change() -> SyncReport:
        _wait_for_lock(using)
        changes = look()
        changes.save()
        return changes.report

    seen = look().report
    if dry_run or seen.is_idle:
        return seen
    _make_lock(using)
    return transact(using, change)


class Changes:
    """What distinguishes the table from the declarations, found by one query."""

    def __init__(self, declared: Iterable[Declaration], using: str, may_delete: bool) -> None:
        self.rows = Schedule.objects.using(using)
        self.now = timezone.now()
        self.report = SyncReport()
        self.new: list[Schedule] = []
        self.updates: dict[int, dict[str, Any]] = {}
        self.gone: list[int] = []
        by_name = {declaration.name: declaration for declaration in declared}
        ours, theirs = self._found(by_name)
        for name, declaration in by_name.items():
            self._compare(declaration, ours.get(name), theirs.get(name, []))
        if may_delete:
            self._delete(row for name, row in ours.items() if name not in by_name)

    def save(self) -> None:
        """Write them; runs inside the transaction in which they were found."""
        self.rows.filter(pk__in=self.gone).delete()
        self.rows.bulk_create(self.new)
        for key, values in self.updates.items():
            self.rows.filter(pk=key).update(**values)

    def _found(self, names: Iterable[str]) -> tuple[dict[str, Schedule], ByName]:
        """Declared rows, and those of the same names that somebody made by hand."""
        ours: dict[str, Schedule] = {}
        theirs: ByName = {}
        wanted = Q(declaration__isnull=False) | Q(name__in=list(names))
        for row in self.rows.filter(wanted).order_by("pk"):
            name = row.name or ""
            if row.declaration is None:
                theirs.setdefault(name, []).append(row)
            else:
                ours[name] = row
        return ours, theirs

    def _compare(
        self, declaration: Declaration, ours: Schedule | None, theirs: list[Schedule]
    ) -> None:
        name = declaration.name
        if ours is not None:
            if values := _new_values(declaration, ours, self.now):
                self.updates[ours.pk] = values
                self.report.changed.append(name)
        elif not theirs:
            self.new.append(declaration.row(self.now))
            self.report.created.append(name)
        elif len(theirs) == 1 and theirs[0].func == declaration.func:
            self.updates[theirs[0].pk] = _new_values(declaration, theirs[0], self.now)
            self.report.adopted.append(name)
        else:
            self.report.failures.append(_taken(declaration, theirs))

    def _delete(self, rows: Iterable[Schedule]) -> None:
        for row in rows:
            self.gone.append(row.pk)
            self.report.deleted.append(row.name or "")


def _new_values(declaration: Declaration, row: Schedule, now: datetime) -> dict[str, Any]:
    """The columns that shall change; those that every run changes only where their cause did."""
    wanted = {"func": declaration.func, **declaration.columns, "declaration": declaration.digest}
    values = {name: value for name, value in wanted.items() if getattr(row, name) != value}
    if not values:
        return {}
    if _is_timed_anew(declaration, row, values):
        values["next_run"] = declaration.first_run(now)
    if _repeats_anew(declaration, row):
        values["paused_repeats" if row.is_paused else "repeats"] = declaration.repeats
    return values | {"error": None}  # It is tried again.


def _is_timed_anew(declaration: Declaration, row: Schedule, values: dict[str, Any]) -> bool:
    if any(name in values for name in TIMING):
        return True
    if row.declaration is None:  # made by hand: its next run is as good, unless one is declared
        return declaration.first is not None
    return row.declaration[:24] != declaration.digest[:24]


def _repeats_anew(declaration: Declaration, row: Schedule) -> bool:
    if row.declaration is None:  # both may mean for ever
        return row.repeats >= 0 or declaration.repeats >= 0
    return row.declaration[24:40] != declaration.digest[24:40]


def _taken(declaration: Declaration, rows: list[Schedule]) -> str:
    found = ", ".join(f"{row.pk} ({row.func})" for row in rows)
    return (
        f"@schedule on {declaration.func}: the name {declaration.name!r} belongs to what was not "
        f"declared, the schedule {found}; delete or rename that, or give another name=."
    )


# One at a time


def _make_lock(using: str) -> None:
    far = timezone.now() + timedelta(days=36_500)
    ClusterStatus.objects.using(using).get_or_create(key=LOCK, defaults={"expires": far})


def _wait_for_lock(using: str) -> None:
    """An UPDATE waits for whoever changed the row, and what is read next is their work."""
    ClusterStatus.objects.using(using).filter(key=LOCK).update(value=str(timezone.now()))
