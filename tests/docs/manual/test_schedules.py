"""The manual's chapter Schedules."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

import pytest

from tests.docs.manual.manual_site import Site
from tests.docs.manual.snippets import snippet
from tests.harness import Project

FIELDS = ["func", "args", "kwargs", "hook", "schedule_type", "minutes", "repeats", "cluster"]
ROWS = f"SELECT {', '.join(FIELDS)} FROM django_q_schedule ORDER BY id"
WITH_OPTIONS = "{'q_options': {'timeout': 30, 'broker_name': 'broker_1'}}"
STARTS = "SELECT next_run FROM django_q_schedule WHERE schedule_type = ?"
MISSED = """
from datetime import timedelta
from django.utils import timezone
from django_q.tasks import schedule
start = timezone.now() - timedelta(hours=2, minutes=30)
schedule("math.exp", 0, name="missed", cluster=CLUSTER, schedule_type="H", next_run=start).pk
"""
UNTIL_THE_NEXT = """
from django.utils import timezone
from django_q.models import Schedule
ahead = Schedule.objects.get(name="missed").next_run - timezone.now()
minutes = ahead.total_seconds() / 60
minutes
"""


def missed(cluster: str | None) -> str:
    """Return code for an hourly schedule whose cluster was away for two hours and a half."""
    return MISSED.replace("CLUSTER", repr(cluster))


def moment(text: Any) -> datetime:
    """Return what SQLite has of a datetime."""
    return datetime.fromisoformat(str(text)).replace(tzinfo=UTC)


def test_the_schedules_are_saved_as_they_are_written(project: Project) -> None:
    before = datetime.now(UTC)
    project.run(snippet("schedules/01_schedule"))
    after = datetime.now(UTC)

    hook = "hooks.print_result"
    assert project.query(ROWS) == [
        ("math.copysign", "2,-2", None, hook, "D", None, -1, None),
        ("math.sqrt", "(9,)", WITH_OPTIONS, hook, "H", None, -1, None),
        ("math.hypot", "(3, 4)", "{}", None, "I", 5, 24, None),
        ("math.hypot", "(3, 4)", "{}", None, "C", None, -1, None),
        ("math.hypot", "(3, 4)", "{}", None, "D", None, -1, "my_cluster"),
    ]
    ((six_o_clock,),) = project.query(STARTS, "I")
    assert moment(six_o_clock).date() in (before.date(), after.date())
    assert (moment(six_o_clock).hour, moment(six_o_clock).minute) == (18, 0)
    ((at_ten,),) = project.query(STARTS, "C")
    assert moment(at_ten).timetz() == time(22, tzinfo=UTC)
    assert moment(at_ten) > before
    assert moment(at_ten).weekday() < 5


def test_the_schedules_that_are_due_run_and_their_hooks_print_the_results(site: Site) -> None:
    since = site.cluster.mark()

    site.prompt.run(snippet("schedules/01_schedule"))

    site.cluster.wait_for_line(r"^-2\.0$", since=since)
    site.cluster.wait_for_line(r"^3\.0$", since=since)
    site.cluster.wait_for_line(r"broker_1", since=since)
    restrained = site.project.query(
        "SELECT task, repeats FROM django_q_schedule WHERE cluster = 'my_cluster'"
    )
    assert restrained == [(None, -1)]


def test_a_cluster_catches_up_with_what_it_missed(site: Site) -> None:
    site.prompt.run(missed(None))

    assert site.wait_for_task("math.exp", 3) == [True] * 3
    site.prompt.run(UNTIL_THE_NEXT)
    assert 25 < site.prompt.value("minutes") <= 30


def test_a_cluster_that_shall_not_catch_up_runs_what_it_missed_once_and_only_its_own(
    project: Project,
) -> None:
    project.configure({"catch_up": False})
    project.run(snippet("schedules/01_schedule") + missed("my_cluster"))

    cluster = project.start_cluster("--name", "my_cluster")
    tasks = project.wait_for_tasks(2)
    minutes = project.run(UNTIL_THE_NEXT)
    assert cluster.stop() == 0, cluster.log

    assert 25 < minutes <= 30
    assert sorted(task["func"] for task in tasks) == ["math.exp", "math.hypot"]
    assert len(project.tasks()) == 2


@pytest.mark.parametrize(
    "code",
    [
        snippet("schedules/02_call_command"),
        snippet("schedules/03_wrapper", begin="# now you can schedule it"),
    ],
    ids=["called directly", "wrapped"],
)
def test_a_management_command_is_scheduled(code: str, site: Site) -> None:
    site.leave_an_expired_session()

    site.prompt.run(code)

    site.wait_until_sessions_are_cleared()
    newest = "SELECT schedule_type FROM django_q_schedule ORDER BY id DESC LIMIT 1"
    assert site.project.query(newest) == [("H",)]
