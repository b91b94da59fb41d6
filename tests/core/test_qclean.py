"""`manage.py qclean` deletes what it was asked to, says how much, and never asks itself."""

from __future__ import annotations

import json
import sqlite3
import sys
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from django_q.management.commands import qclean as command
from django_q.models import IterItem, Task

pytestmark = pytest.mark.django_db


class Terminal(StringIO):
    """Where somebody watches."""

    def isatty(self) -> bool:
        return True


def store(*days_ago: float, **columns: Any) -> None:
    for days in days_ago:
        stopped = timezone.now() - timedelta(days=days)
        facts = {"name": f"{days:g}", "func": "f", "started": stopped, "stopped": stopped}
        Task.objects.create(**{"id": uuid4().hex, **facts, **columns})


def names() -> list[str]:
    return sorted(Task.objects.values_list("name", flat=True), key=float)


def qclean(*arguments: str) -> str:
    out = StringIO()
    call_command("qclean", *arguments, stdout=out)
    return out.getvalue().strip()


def test_bare_it_does_what_the_settings_say(settings):
    settings.Q_CLUSTER = {"keep_days": 7, "failure_limit": 1}
    store(1, 8)
    store(2, 3, success=False)

    assert qclean() == "Deleted 1 successful and 1 failed task."
    assert names() == ["1", "2"]


def test_it_never_asks(monkeypatch):
    monkeypatch.setattr(sys, "stdin", StringIO())
    store(31)

    assert qclean() == "Deleted 1 successful and 0 failed tasks."


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["--older-than", "4.5"], ["1", "2", "3", "4"]),
        (["--days=4.5"], ["1", "2", "3", "4"]),
        (["--state", "success"], ["4", "5", "6"]),
        (["--state", "failure"], ["1", "2", "3"]),
        (["--group", "even"], ["1", "3", "5"]),
        (["--group", "even", "--state", "failure", "--older-than", "5"], ["1", "2", "3", "4", "5"]),
    ],
)
def test_a_choice_of_tasks_is_deleted_whatever_the_settings_say(settings, arguments, kept):
    settings.Q_CLUSTER = {"keep_days": 0.5}
    for age in range(1, 7):
        store(age, success=age < 4, group=None if age % 2 else "even")

    qclean(*arguments)

    assert names() == kept


@pytest.mark.parametrize("arguments", [[], ["--older-than", "30"]])
def test_a_dry_run_only_counts(arguments):
    store(1, 31)
    store(32, success=False)

    assert qclean("--dry-run", *arguments) == "Would delete 1 successful and 1 failed task."
    assert names() == ["1", "31", "32"]


def test_large_numbers_have_separators_and_left_items_are_mentioned():
    told = command.told(command.Tally(successes=1234, failures=12, items=1), dry_run=False)

    assert told == (
        "Deleted 1,234 successful and 12 failed tasks, and 1 result of iterables that never "
        "completed."
    )


def test_json_has_the_same_numbers():
    store(31)
    created = timezone.now() - timedelta(days=40)
    IterItem.objects.create(task_id="a", group="g", index=0, success=True, created=created)

    dry = json.loads(qclean("--json", "--dry-run"))

    assert dry == {"successes": 1, "failures": 0, "items": 1, "dry_run": True}
    assert json.loads(qclean("--json")) == {**dry, "dry_run": False}


def test_a_batch_is_as_large_as_asked_for(django_assert_num_queries):
    store(*range(1, 8))

    # Three batches are picked and deleted, and no failure is found.
    with django_assert_num_queries(3 * 2 + 1):
        qclean("--batch-size", "3", "--older-than", "0")


@pytest.mark.parametrize(
    ("terminal", "seconds", "shown"),
    [(Terminal, 0.0, "\r7 tasks deleted"), (Terminal, 3600.0, ""), (StringIO, 0.0, "")],
)
def test_whoever_watches_for_long_is_told_how_it_goes(monkeypatch, terminal, seconds, shown):
    monkeypatch.setattr(command, "PROGRESS_SECONDS", seconds)
    store(*range(1, 8))
    watched = terminal()

    call_command("qclean", "--older-than=0", stdout=StringIO(), stderr=watched)

    assert watched.getvalue().strip("\n").partition("\n")[0][: len(shown) or None] == shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--older-than", "soon"], "--older-than must be a number of days, 0 or more, not 'soon'."),
        (["--older-than", "-1"], "--older-than must be a number of days, 0 or more, not '-1'."),
        (["--days", "nan"], "--older-than must be a number of days, 0 or more, not 'nan'."),
        (["--state", "failed"], "--state must be success or failure, not 'failed'."),
        (["--group", ""], "--group must name a group, and came empty."),
        (["--batch-size", "0"], "--batch-size must be a whole number from 1 to 10000, not '0'."),
        (["--batch-size", "2.5"], "--batch-size must be a whole number from 1 to 10000, not '2.5'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_was_expected(arguments, sentence):
    store(31)

    with pytest.raises(CommandError) as refused:
        qclean(*arguments)

    assert sentence in str(refused.value)
    assert names() == ["31"]


def test_missing_tables_are_said_in_a_sentence():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_q_task RENAME TO elsewhere")

    with pytest.raises(CommandError, match=r"django_q_task is missing .* run `manage.py migrate`"):
        qclean()


def test_a_database_that_is_away_is_said_in_a_sentence(monkeypatch):
    def refuse(*args: Any) -> None:
        cause = sqlite3.OperationalError("disk I/O error")
        cause.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise OperationalError("disk I/O error") from cause

    monkeypatch.setattr(command.cleaning, "by_settings", refuse)

    with pytest.raises(CommandError, match="The database 'default' cannot be used: disk I/O error"):
        qclean()


def test_settings_that_cannot_be_used_are_said_in_a_sentence(settings):
    settings.Q_CLUSTER = {"keep_days": -1}

    with pytest.raises(CommandError, match=r'Q_CLUSTER\["keep_days"\] must be'):
        qclean()
