"""`manage.py qclean`: deletes finished tasks, by the settings or by age, state and group."""

from __future__ import annotations

import json
import math
import time
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import router

from django_q.conf import get_settings
from django_q.management.outages import in_a_sentence
from django_q.models import Task
from django_q.records import cleaning
from django_q.records.chunks import CHUNK_ROWS
from django_q.records.cleaning import Cleaning, Tally

MOST_ROWS = 10_000
PROGRESS_SECONDS = 2.0
"""What takes no longer needs no line of progress."""


class Command(BaseCommand):
    """Deletes finished tasks in batches, the oldest first, and never asks."""

    help = (
        "Deletes finished tasks. Without an age, a state or a group: those that save_limit, "
        "failure_limit and keep_days of Q_CLUSTER leave no room for or, where it has none of the "
        "three, also those that are older than 30 days. Never asks; --dry-run only counts."
    )
    requires_system_checks = ()
    """cron mails what is printed, and would mail their advice every night."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than",
            "--days",
            metavar="DAYS",
            dest="days",
            help="Only what ended more than so many days ago.",
        )
        parser.add_argument(
            "--state",
            metavar="STATE",
            help="Only what succeeded (success) or what failed (failure).",
        )
        parser.add_argument("--group", help="Only tasks of this group.")
        parser.add_argument(
            "--dry-run", action="store_true", help="Only say how many would be deleted."
        )
        parser.add_argument(
            "--batch-size",
            metavar="N",
            default=CHUNK_ROWS,
            help=f"Tasks to delete in one transaction; {CHUNK_ROWS} by default.",
        )
        parser.add_argument("--json", action="store_true", help="Say it as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        using = router.db_for_write(Task)
        with in_a_sentence(using):
            found = chosen(using, options)
            tally = found.count() if options["dry_run"] else self.run(found)
        if options["json"]:
            self.stdout.write(json.dumps({**asdict(tally), "dry_run": options["dry_run"]}))
        else:
            self.stdout.write(told(tally, options["dry_run"]))

    def run(self, found: Cleaning) -> Tally:
        """Delete it; whoever watches for long is told how it goes."""
        tally, is_watched = Tally(), self.stderr.isatty()
        next_line = time.monotonic() + PROGRESS_SECONDS
        shown = False
        for _ in found.run(tally):
            if is_watched and time.monotonic() >= next_line:
                self.stderr.write(f"\r{tally.tasks:,} tasks deleted", str, ending="")
                next_line, shown = time.monotonic() + PROGRESS_SECONDS / 10, True
        if shown:
            self.stderr.write("", str)
        return tally


def chosen(using: str, options: dict[str, Any]) -> Cleaning:
    """What the options ask for; the settings decide where none of them chooses."""
    chunk_rows = _batch_size(options["batch_size"])
    days, success, group = _days(options["days"]), _state(options["state"]), options["group"]
    if group == "":
        raise CommandError("--group must name a group, and came empty.")
    if days is None and success is None and group is None:
        return cleaning.by_settings(get_settings(), using, chunk_rows)
    before = None if days is None else cleaning.days_ago(days)
    return cleaning.of(using, before=before, success=success, group=group, chunk_rows=chunk_rows)


def _days(given: Any) -> float | None:
    if given is None:
        return None
    days = _number(given)
    if days is None or days < 0:
        raise CommandError(f"--older-than must be a number of days, 0 or more, not {given!r}.")
    return days


def _batch_size(given: Any) -> int:
    size = _number(given)
    if size is None or size != int(size) or not 1 <= size <= MOST_ROWS:
        raise CommandError(
            f"--batch-size must be a whole number from 1 to {MOST_ROWS}, not {given!r}."
        )
    return int(size)


def _number(given: Any) -> float | None:
    try:
        number = float(given)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _state(given: str | None) -> bool | None:
    states = {None: None, "success": True, "failure": False}
    if given not in states:
        raise CommandError(f"--state must be success or failure, not {given!r}.")
    return states[given]


def told(tally: Tally, dry_run: bool) -> str:
    """The tally as a sentence."""
    did = "Would delete" if dry_run else "Deleted"
    items = (
        f", and {_counted(tally.items, 'result')} of iterables that never completed"
        if tally.items
        else ""
    )
    return (
        f"{did} {tally.successes:,} successful and {_counted(tally.failures, 'failed task')}"
        f"{items}."
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
