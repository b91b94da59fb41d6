"""`manage.py qschedules`: lists the schedules, and saves those that code declares."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, no_translations
from django.core.serializers.json import DjangoJSONEncoder
from django.db import router
from django.utils import timezone

from django_q.errors import ConfigurationError
from django_q.models import Schedule
from django_q.plugins.listing import aligned, in_one_line
from django_q.readiness import explain_database_errors
from django_q.tasks.declared_rows import SyncReport, sync

HEADINGS = ("NAME", "WHEN", "NEXT RUN", "QUEUE", "REPEATS", "DECLARED", "ERROR")


class Command(BaseCommand):
    """Shows what is planned, or makes the table agree with what code declares."""

    help = (
        "Lists the schedules, or (sync) saves those that @schedule(...) declares in the apps' "
        "tasks modules. Ends with status 1 when one of them could not be saved."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "what",
            nargs="?",
            choices=("list", "sync"),
            default="list",
            help="list: all schedules; sync: save those that code declares.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="With sync: only say what would be done."
        )
        parser.add_argument("--json", action="store_true", help="The same as JSON.")

    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["what"] == "sync":
                self.sync(options["dry_run"], options["json"])
            else:
                self.list(options["json"])
        except ConfigurationError as error:
            raise CommandError(str(error)) from error

    def sync(self, dry_run: bool, as_json: bool) -> None:
        report = sync(dry_run=dry_run)
        if as_json:
            self.stdout.write(json.dumps(asdict(report), indent=2))
        else:
            self.stdout.write("\n".join(told(report, dry_run)))
        if report.failures:
            sys.exit(1)

    def list(self, as_json: bool) -> None:
        using = router.db_for_read(Schedule)
        with explain_database_errors(using):
            found = [facts(row) for row in Schedule.objects.using(using).order_by("next_run", "pk")]
        if as_json:
            self.stdout.write(json.dumps(found, indent=2, cls=DjangoJSONEncoder))
        elif found:
            self.stdout.write("\n".join(aligned([HEADINGS, *map(line, found)])))
        else:
            self.stdout.write("There are no schedules.")


# What sync did


def told(report: SyncReport, dry_run: bool = False) -> Iterator[str]:
    """The report as lines."""
    would = "would be " if dry_run else ""
    for deed in ("created", "adopted", "changed", "deleted"):
        for name in getattr(report, deed):
            yield f"{would}{deed}: {in_one_line(name)}"
    if report.is_idle and not report.failures:
        yield "Nothing is to be changed."
    for failure in report.failures:
        yield f"failed: {in_one_line(failure)}"


# The list


def facts(row: Schedule) -> dict[str, Any]:
    """What `--json` shows of one schedule: not its arguments, which may be secret."""
    return {
        "id": row.pk,
        "name": row.name,
        "func": row.func,
        "when": in_words(row),
        "next_run": row.next_run,
        "queue": row.cluster,
        "repeats": row.repeats,
        "paused": row.is_paused,
        "declared": row.declaration is not None,
        "error": row.error,
    }


def line(found: dict[str, Any]) -> tuple[str, ...]:
    """The same as cells; empty ones where there is nothing to say."""
    return (
        in_one_line(found["name"] or found["func"]),
        in_one_line(found["when"]),
        _local(found["next_run"]),
        in_one_line(found["queue"] or ""),
        _left(found),
        "yes" if found["declared"] else "",
        in_one_line(found["error"] or ""),
    )


def _left(found: dict[str, Any]) -> str:
    if found["paused"]:
        return "paused"
    return "for ever" if found["repeats"] < 0 else str(found["repeats"] or "none left")


def _local(moment: datetime | None) -> str:
    if moment is None:
        return ""
    if timezone.is_aware(moment):
        moment = timezone.localtime(moment)
    return moment.isoformat(" ", "seconds")


def in_words(row: Schedule) -> str:
    """When it runs."""
    if row.schedule_type == Schedule.CRON:
        return f"cron {row.cron}"
    if row.schedule_type != Schedule.MINUTES:
        return str(row.get_schedule_type_display()).lower()
    if row.seconds:
        return f"every {_counted(row.seconds, 'second')}"
    return f"every {_counted(row.minutes or 1, 'minute')}"


def _counted(number: int, unit: str) -> str:
    return unit if number == 1 else f"{number} {unit}s"
