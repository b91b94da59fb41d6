"""Schedules in the admin: one query for the list, and what code declares is read-only."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_q.models import Schedule, Task
from tests.core.queueing import memory_queue, waiting

pytestmark = pytest.mark.django_db

LIST = reverse("admin:django_q_schedule_changelist")
ADD = reverse("admin:django_q_schedule_add")
FORM = {
    "func": "math.floor",
    "schedule_type": "D",
    "repeats": "-1",
    "next_run_0": "2030-01-31",
    "next_run_1": "18:00:00",
    "catch_up": "unknown",
}


@pytest.fixture
def site() -> Client:
    """Return a client that may do everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def made(**fields: Any) -> Schedule:
    return Schedule.objects.create(**{"func": "math.floor", "schedule_type": "D"} | fields)


def with_task(number: int, *, success: bool = True) -> Schedule:
    now = timezone.now()
    task = Task.objects.create(
        id=f"{number:032x}", name=f"task-{number}", func="f", started=now, stopped=now,
        success=success,
    )  # fmt: skip
    return made(task=task.pk)


def page_of(row: Schedule, what: str = "change") -> str:
    return reverse(f"admin:django_q_schedule_{what}", args=(row.pk,))


# The list


def test_the_list_shows_how_each_schedule_fares(site: Client) -> None:
    with_task(1)
    with_task(2, success=False)
    Schedule.objects.filter(pk=made().pk).update(error="args cannot be read")

    page = site.get(LIST).content.decode()

    assert all(f"[task-{number}]" in page for number in (1, 2))
    assert "args cannot be read" in page
    assert [page.count(f'alt="{success}"') for success in ("True", "None")] == [1, 1]
    assert page.count('alt="False"') == 1 + 3  # one that failed, three that are not declared


def test_the_list_takes_as_many_queries_for_twelve_schedules_as_for_two(site: Client) -> None:
    site.get(LIST)
    counts = []
    for numbers in (range(2), range(2, 12)):
        for number in numbers:
            with_task(number)
        with CaptureQueriesContext(connection) as queries:
            site.get(LIST)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_tasks_in_another_database_are_asked_for_one_by_one(
    site: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = SimpleNamespace(db_for_read=lambda model: "elsewhere")
    monkeypatch.setattr("django_q.admin.schedules.router", elsewhere)
    with_task(1)

    assert "[task-1]" in site.get(LIST).content.decode()


def test_schedules_are_found_by_their_function(site: Client) -> None:
    made(func="shop.tasks.send")
    made(func="shop.tasks.fetch")

    page = site.get(LIST, {"q": "send"}).content.decode()

    assert ("shop.tasks.send" in page, "shop.tasks.fetch" in page) == (True, False)


# Adding and changing


def test_a_schedule_is_added(site: Client) -> None:
    answer = site.post(ADD, FORM | {"schedule_type": "I", "seconds": "10", "args": "1, 'two'"})

    assert answer.status_code == 302, answer.content.decode()
    row = Schedule.objects.get()
    assert (row.schedule_type, row.seconds, row.args) == ("I", 10, "1, 'two'")
    assert site.get(page_of(row)).status_code == 200


def test_a_schedule_is_changed_and_its_error_forgotten(site: Client) -> None:
    row = made(args="(1,")
    Schedule.objects.filter(pk=row.pk).update(error="args cannot be read")

    answer = site.post(page_of(row), FORM | {"args": "1"})

    assert answer.status_code == 302, answer.content.decode()
    row.refresh_from_db()
    assert (row.args, row.error) == ("1", None)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"args": "(1,"}, "args of the schedule cannot be read"),
        ({"kwargs": "q_options=3"}, "q_options of a schedule must be a dict"),
        ({"seconds": "10"}, "Seconds are for the type Minutes"),
        ({"schedule_type": "I", "seconds": "0"}, "Seconds must be 1 or more"),
        ({"schedule_type": "I", "minutes": "0"}, "Minutes must be 1 or more"),
        ({"schedule_type": "C"}, "The type Cron needs a cron expression"),
    ],
)
def test_what_could_never_be_queued_is_refused(
    site: Client, wrong: dict[str, str], reason: str
) -> None:
    answer = site.post(ADD, FORM | wrong)

    assert reason in answer.content.decode()
    assert not Schedule.objects.exists()


def test_without_croniter_the_form_says_what_to_install(
    site: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "croniter", None)

    page = site.get(ADD).content.decode()

    assert "django-q-core[cron]" in page
    assert 'name="cron"' not in page
    answer = site.post(ADD, FORM | {"schedule_type": "C"})
    assert "The type Cron needs a cron expression" in answer.content.decode()


# What code declares


@pytest.fixture
def declared() -> Schedule:
    """Return a schedule that code declares."""
    return made(name="nightly", func="shop.tasks.send", declaration="d" * 64)


def test_a_declared_schedule_is_shown_with_the_reason_why_it_cannot_be_changed(
    site: Client, declared: Schedule
) -> None:
    page = site.get(page_of(declared)).content.decode()

    assert "shop.tasks.send has the decorator @schedule" in page
    assert "qschedules sync" in page
    assert [mark for mark in ('name="func"', 'name="_save"', "deletelink") if mark in page] == []


@pytest.mark.parametrize("what", ["change", "delete"])
def test_a_declared_schedule_is_neither_changed_nor_deleted(
    site: Client, declared: Schedule, what: str
) -> None:
    answer = site.post(page_of(declared, what), FORM | {"post": "yes"})

    assert answer.status_code == 403
    assert Schedule.objects.get().func == "shop.tasks.send"


def test_a_declared_schedule_among_those_that_are_marked_keeps_them_from_being_deleted(
    site: Client, declared: Schedule
) -> None:
    marked = [declared.pk, made().pk]

    site.post(LIST, {"action": "delete_selected", "_selected_action": marked, "post": "yes"})

    assert Schedule.objects.count() == 2


# Actions


def act(site: Client, action: str, *rows: Schedule) -> str:
    """Run an action on rows, and return what the page says then."""
    marked = [row.pk for row in rows]
    answer = site.post(LIST, {"action": action, "_selected_action": marked}, follow=True)
    return answer.content.decode()


@pytest.fixture
def queue(settings: Any) -> None:
    """Give the site a queue in memory."""
    settings.Q_CLUSTER = memory_queue()


@pytest.mark.usefixtures("queue")
def test_a_schedule_run_now_is_queued_as_it_would_be_and_stays_due_as_it_is(site: Client) -> None:
    row = made(
        name="nightly", args="1.5", hook="shop.tasks.done", intended_date_kwarg="due",
        kwargs="q_options={'timeout': 9}", repeats=3, next_run=timezone.now() + timedelta(days=1),
    )  # fmt: skip

    page = act(site, "run_now", row)

    (task,) = waiting()
    assert (task["func"], task["args"], task["timeout"]) == ("math.floor", (1.5,), 9)
    assert (task["group"], task["hook"]) == ("nightly", "shop.tasks.done")
    assert datetime.fromisoformat(task["kwargs"]["due"]) < row.next_run
    after = Schedule.objects.get()
    assert (after.repeats, after.next_run, after.task) == (3, row.next_run, task["id"])
    assert "1 schedule was queued." in page
    assert LogEntry.objects.get().get_change_message() == f"Run now as task {task['id']}."


@pytest.mark.usefixtures("queue")
def test_one_that_cannot_be_queued_is_named_and_the_others_go_on(site: Client) -> None:
    page = act(site, "run_now", made(name="broken", args="(1,"), made())

    assert "1 schedule was not queued: · broken: args of the schedule cannot be read" in page
    assert "1 schedule was queued." in page
    assert len(waiting()) == 1
    assert LogEntry.objects.count() == 1


def test_a_pause_keeps_the_repeats_and_what_was_due_meanwhile_is_not_caught_up(
    site: Client,
) -> None:
    due = timezone.now() - timedelta(days=3, hours=1)
    row = made(repeats=7, next_run=due, catch_up=True)

    act(site, "pause", row)
    row.refresh_from_db()
    assert (row.repeats, row.paused_repeats) == (0, 7)

    act(site, "pause", row)
    page = act(site, "resume", row)
    row.refresh_from_db()
    assert "1 schedule was resumed." in page
    assert (row.repeats, row.paused_repeats) == (7, None)
    assert row.next_run == due + timedelta(days=4)


def test_one_that_ran_out_is_not_resumed_without_the_number_of_its_repeats(site: Client) -> None:
    row = made(repeats=0)

    page = act(site, "resume", row)

    assert "math.floor: no runs are left" in page
    row.refresh_from_db()
    assert row.repeats == 0


def test_setting_the_repeats_to_0_is_a_pause_and_setting_them_again_its_end(site: Client) -> None:
    row = made(repeats=5)

    site.post(page_of(row), FORM | {"repeats": "0"})
    row.refresh_from_db()
    assert row.paused_repeats == 5

    site.post(page_of(row), FORM | {"repeats": "2"})
    row.refresh_from_db()
    assert (row.repeats, row.paused_repeats) == (2, None)


def test_a_declared_schedule_can_be_paused_too(site: Client, declared: Schedule) -> None:
    act(site, "pause", declared)

    declared.refresh_from_db()
    assert (declared.repeats, declared.paused_repeats) == (0, -1)


@pytest.mark.parametrize("action", ["run_now", "pause", "resume"])
def test_who_may_only_look_is_offered_no_action(site: Client, action: str) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_schedule"))
    site.force_login(viewer)
    row = made()

    assert action not in site.get(LIST).content.decode()
    act(site, action, row)

    assert Schedule.objects.get().repeats == -1
    assert not LogEntry.objects.exists()
