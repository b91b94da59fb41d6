"""What the models answer: results by id, name and group, next runs, queued packages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_q import models as django_q_models
from django_q.models import (
    Failure,
    OrmQ,
    Schedule,
    Success,
    Task,
    validate_cron,
    validate_kwarg,
)
from django_q.signing import SignedPackage

pytestmark = pytest.mark.django_db

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def save(number: int, **columns: Any) -> Task:
    return Task.objects.create(
        **{
            "id": f"{number:032x}",
            "name": f"task-{number}",
            "func": "math.floor",
            "started": NOON,
            "stopped": NOON + timedelta(seconds=number),
            "result": number,
            "success": True,
            **columns,
        }
    )


# Task


def test_a_task_is_found_by_its_id_or_its_name():
    task = save(1)

    assert Task.get_task(task.id) == task
    assert Task.get_task("task-1") == task
    assert Task.get_task("nobody") is None
    assert Task.get_task("f" * 32) is None


def test_a_name_of_32_characters_finds_its_task():
    task = save(1, name="n" * 32)

    assert Task.get_task("n" * 32) == task


def test_of_several_tasks_of_one_name_the_newest_is_found():
    for number in (1, 3, 2):
        save(number, name="nightly")

    assert Task.get_result("nightly") == 3


def test_an_id_wins_over_another_tasks_name():
    task = save(1)
    save(2, name=task.id)

    assert Task.get_result(task.id) == 1


@pytest.mark.parametrize("key", [f"{1:032x}", "task-1", "nobody"])
def test_asking_for_a_result_is_one_query(key):
    save(1)

    with CaptureQueriesContext(connection) as queries:
        Task.get_result(key)

    assert len(queries) == 1


@pytest.mark.parametrize("result", [None, 0, "", [], {"a": 1}])
def test_any_result_comes_back(result):
    task = save(1, result=result)

    assert Task.get_result(task.id) == result


def test_a_group_answers_for_its_tasks():
    first = save(1, group="g")
    save(2, group="g", success=False)
    save(3)

    assert sorted(Task.get_result_group("g")) == [1]
    assert sorted(Task.get_result_group("g", failures=True)) == [1, 2]
    assert Task.get_group_count("g") == 2
    assert Task.get_group_count("g", failures=True) == 1
    assert Task.get_task_group("g").count() == 2
    assert Task.get_task_group("g", failures=False).get() == first
    assert list(first.group_result()) == [1]
    assert first.group_count(failures=True) == 1


def test_a_task_without_a_group_has_none_to_ask():
    task = save(1)

    assert (task.group_result(), task.group_count(), task.group_delete()) == (None, None, None)


def test_deleting_a_group_takes_off_the_label():
    task = save(1, group="g")

    task.group_delete()

    task.refresh_from_db()
    assert task.group is None


def test_deleting_a_group_may_delete_its_tasks():
    save(1, group="g").group_delete(tasks=True)

    assert not Task.objects.exists()


def test_time_taken_is_in_seconds():
    assert save(90).time_taken() == 90


def test_successes_and_failures_are_views_of_the_tasks():
    save(1)
    save(2, success=False)

    assert Success.objects.get().pk == f"{1:032x}"
    assert Failure.objects.get().pk == f"{2:032x}"


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's query plans")
def test_the_newest_task_comes_first_by_an_index():
    for number in range(3):
        save(number)

    plan = Task.objects.order_by("-stopped").explain()

    assert [task.result for task in Task.objects.all()] == [2, 1, 0]
    assert "django_q_task_stopped" in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's query plans")
@pytest.mark.parametrize(
    ("condition", "index"),
    [({"group": "g"}, "django_q_task_group"), ({"name": "n"}, "django_q_task_name")],
)
def test_groups_and_names_are_found_by_an_index(condition, index):
    assert index in Task.objects.filter(**condition).order_by().explain()


def test_models_pass_the_checks_of_django():
    assert [
        error
        for model in (Task, Success, Failure, Schedule, OrmQ)
        for error in model.check(databases=["default"])
    ] == []


# Schedule


def test_a_schedule_says_when_it_is_due_next():
    schedule = Schedule(func="math.floor", schedule_type=Schedule.DAILY, next_run=NOON)

    assert schedule.calculate_next_run() == NOON + timedelta(days=1)
    assert schedule.calculate_next_run(NOON + timedelta(days=1)) == NOON + timedelta(days=2)


def test_a_schedule_of_minutes_counts_its_minutes():
    schedule = Schedule(schedule_type=Schedule.MINUTES, minutes=5, next_run=NOON)

    assert schedule.calculate_next_run() == NOON + timedelta(minutes=5)


def test_a_new_cron_schedule_is_due_when_its_expression_says_so():
    schedule = Schedule.objects.create(
        func="math.floor", schedule_type=Schedule.CRON, cron="0 3 * * *"
    )

    assert schedule.next_run is not None
    assert (schedule.next_run.hour, schedule.next_run.minute) == (3, 0)
    assert schedule.next_run > timezone.now()


def test_a_saved_cron_schedule_keeps_the_time_it_was_given():
    schedule = Schedule.objects.create(
        func="math.floor", schedule_type=Schedule.CRON, cron="0 3 * * *"
    )

    schedule.next_run = NOON
    schedule.save()

    schedule.refresh_from_db()
    assert schedule.next_run == NOON


def test_a_schedule_tells_how_its_latest_run_ended():
    task = save(1, success=False)
    schedule = Schedule(func="math.floor", task=task.id)

    assert schedule.success() is False
    assert "task-1" in (schedule.last_run() or "")


@pytest.mark.parametrize("task", [None, "f" * 32])
def test_a_schedule_whose_latest_run_is_unknown_tells_nothing(task):
    schedule = Schedule(func="math.floor", task=task)

    assert (schedule.success(), schedule.last_run()) == (None, None)


@pytest.mark.parametrize("cron", ["* * * * *", "*/5 8-18 * * mon-fri", "0 22 * * 1-5"])
def test_cron_expressions_pass(cron):
    validate_cron(cron)


@pytest.mark.parametrize("cron", ["", "* * *", "61 * * * *", "nonsense"])
def test_what_is_no_cron_expression_is_refused(cron):
    with pytest.raises(ValidationError):
        validate_cron(cron)


def test_without_croniter_the_refusal_names_the_cure(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "croniter", None)

    with pytest.raises(ValidationError, match=r"django-q-core\[cron\]"):
        validate_cron("* * * * *")


def test_names_of_arguments_pass():
    validate_kwarg("run_at")


@pytest.mark.parametrize("name", ["", "run at", "1st", "class", "a-b"])
def test_what_cannot_name_an_argument_is_refused(name):
    with pytest.raises(ValidationError):
        validate_kwarg(name)


# OrmQ


def queued(**task: Any) -> OrmQ:
    content = {
        "id": "a" * 32,
        "name": "n",
        "func": timezone.now,
        "args": (1,),
        "kwargs": {"x": 2},
        "started": NOON,
        **task,
    }
    return OrmQ(key="q", payload=SignedPackage.dumps(content))


def test_a_queued_row_tells_what_its_package_holds():
    row = queued(group="g", hook="print")

    assert (row.task_id(), row.name(), row.group()) == ("a" * 32, "n", "g")
    assert (row.args(), row.kwargs()) == ((1,), {"x": 2})
    assert row.func() == "django.utils.timezone.now"
    assert row.q_options() == {"hook": "print", "started": NOON}


class Exploding:
    """Raises when it is unpickled."""

    def __reduce__(self) -> Any:
        return django_q_models.validate_kwarg, ("not an identifier",)


def test_a_queued_row_is_shown_without_running_what_is_in_it():
    row = queued(args=(Exploding(),))

    assert row.task_id() == "a" * 32


def test_a_row_that_cannot_be_read_names_the_error_in_place_of_its_id():
    assert OrmQ(key="q", payload="garbage").task_id() == "*BadSignature"


def test_a_queued_row_is_read_once():
    row = queued()

    assert row.task is row.task
