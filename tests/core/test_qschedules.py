"""`manage.py qschedules` lists what is planned, and saves what code declares."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from django_q.models import Schedule
from django_q.tasks import declarations, schedule

pytestmark = pytest.mark.django_db

NOON = datetime(2040, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return an empty registry."""
    empty: dict[str, Any] = {}
    monkeypatch.setattr(declarations, "_declared", empty)
    return empty


def qschedules(*arguments: str) -> tuple[str, int]:
    """Return what `qschedules` prints, and its exit status."""
    out = StringIO()
    try:
        call_command("qschedules", *arguments, stdout=out)
    except SystemExit as stop:
        return out.getvalue(), int(str(stop.code))
    return out.getvalue(), 0


def made(**fields: Any) -> Schedule:
    return Schedule.objects.create(**{"func": "shop.tasks.send", "next_run": NOON} | fields)


def job() -> None:
    """Stand at the top of a module, where a worker finds it."""


# The list


def test_every_schedule_has_a_line_in_the_order_in_which_they_are_due() -> None:
    made(name="nightly", schedule_type="D", cluster="short", repeats=3, declaration="d")
    broken = made(repeats=0, next_run=None)
    Schedule.objects.filter(pk=broken.pk).update(error="args\ncannot be read", next_run=NOON)

    lines = qschedules()[0].splitlines()

    assert " ".join(lines[0].split()) == "NAME WHEN NEXT RUN QUEUE REPEATS DECLARED ERROR"
    assert [line.split() for line in lines[1:]] == [
        ["nightly", "daily", "2040-01-01", "12:00:00+00:00", "short", "3", "yes"],
        ["shop.tasks.send", "once", "2040-01-01", "12:00:00+00:00", "none", "left",
         "args", "cannot", "be", "read"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"schedule_type": "I", "minutes": 5}, "every 5 minutes"),
        ({"schedule_type": "I"}, "every minute"),
        ({"schedule_type": "I", "minutes": 1, "seconds": 10}, "every 10 seconds"),
        ({"schedule_type": "C", "cron": "0 8 * * *"}, "cron 0 8 * * *"),
        ({"schedule_type": "BW"}, "biweekly"),
    ],
)
def test_when_it_runs_is_said_in_words(fields: dict[str, Any], words: str) -> None:
    made(**fields)

    assert json.loads(qschedules("list", "--json")[0])[0]["when"] == words


def test_json_says_the_same_and_no_arguments() -> None:
    row = made(name="nightly", schedule_type="H", kwargs="token='s3cret'")

    assert json.loads(qschedules("--json")[0]) == [
        {
            "id": row.pk,
            "name": "nightly",
            "func": "shop.tasks.send",
            "when": "hourly",
            "next_run": "2040-01-01T12:00:00Z",
            "queue": None,
            "repeats": -1,
            "paused": False,
            "declared": False,
            "error": None,
        }
    ]


def test_an_empty_table_is_said_to_be_empty() -> None:
    assert qschedules() == ("There are no schedules.\n", 0)


def test_a_missing_table_is_said_with_the_command_that_makes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(model: Any) -> str:
        raise DatabaseError("no such table: django_q_schedule")

    monkeypatch.setattr(Schedule.objects, "using", fail)

    with pytest.raises(CommandError, match=r"run `manage\.py migrate`"):
        qschedules()


# Saving what is declared


def test_sync_says_what_it_did() -> None:
    made(name="gone", declaration="d" * 64)
    schedule(minutes=5, name="often")(job)

    first, second = qschedules("sync"), qschedules("sync")

    assert first == ("created: often\ndeleted: gone\n", 0)
    assert second == ("Nothing is to be changed.\n", 0)
    assert [row.name for row in Schedule.objects.all()] == ["often"]


def test_a_dry_run_says_what_it_would_do_and_does_nothing() -> None:
    schedule(minutes=5, name="often")(job)

    assert qschedules("sync", "--dry-run") == ("would be created: often\n", 0)
    assert not Schedule.objects.exists()


def test_what_cannot_be_saved_is_said_and_ends_with_status_1() -> None:
    made(name="often")
    schedule(minutes=5, name="often")(job)

    shown, status = qschedules("sync")
    as_json, _ = qschedules("sync", "--json")

    assert status == 1
    assert "failed: @schedule on " in shown
    assert json.loads(as_json)["failures"][0] in shown
