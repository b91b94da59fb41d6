"""Groups of tasks in the database."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_q.models import Task
from django_q.tasks import (
    async_task,
    count_group,
    delete_group,
    fetch,
    fetch_group,
    result_group,
)
from tests.core.queueing import add, drain, fail, memory_queue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(settings: Any) -> None:
    settings.Q_CLUSTER = memory_queue()


def finish_group(successes: int = 2, failures: int = 1) -> None:
    for number in range(successes):
        async_task(add, number, group="numbers")
    for _ in range(failures):
        async_task(fail, "as asked", group="numbers")
    drain()


def test_results_leave_failures_out_unless_asked() -> None:
    finish_group()

    assert sorted(result_group("numbers")) == [0, 1]
    assert len(result_group("numbers", failures=True)) == 3


def test_fetched_tasks_include_failures_unless_told_otherwise() -> None:
    finish_group()

    assert len(fetch_group("numbers")) == 3
    assert {task.success for task in fetch_group("numbers", failures=False)} == {True}


def test_fetched_tasks_are_a_queryset() -> None:
    finish_group()

    assert fetch_group("numbers").exclude(success=False).count() == 2


def test_counts_are_of_all_or_of_failures() -> None:
    finish_group()

    assert count_group("numbers") == 3
    assert count_group("numbers", failures=True) == 1
    assert count_group("nobody") == 0


def test_an_unknown_group_has_nothing() -> None:
    assert result_group("nobody") is None
    assert fetch_group("nobody") is None


def test_a_count_that_is_reached_ends_the_waiting() -> None:
    finish_group()

    assert sorted(result_group("numbers", count=3)) == [0, 1]
    assert sorted(result_group("numbers", count=2, wait=-1)) == [0, 1]
    assert len(fetch_group("numbers", count=3)) == 3


def test_a_count_that_is_not_reached_ends_with_the_wait() -> None:
    finish_group()

    assert sorted(result_group("numbers", count=4, wait=20)) == [0, 1]


def test_a_group_of_failures_ends_the_waiting_for_its_count() -> None:
    finish_group(successes=0, failures=2)

    assert result_group("numbers", count=2, wait=-1) is None
    assert len(result_group("numbers", count=2, failures=True)) == 2


def test_each_poll_is_one_query() -> None:
    for ask in (result_group, fetch_group, count_group):
        with CaptureQueriesContext(connection) as queries:
            ask("nobody")

        assert len(queries) == 1, ask


def test_deleting_a_group_takes_the_label_off() -> None:
    finish_group()

    assert delete_group("numbers") == 3
    assert count_group("numbers") == 0
    assert Task.objects.count() == 3


def test_deleting_a_group_may_delete_its_tasks() -> None:
    finish_group()

    delete_group("numbers", tasks=True)

    assert not Task.objects.exists()


def test_a_finished_task_knows_its_group() -> None:
    finish_group()
    task = fetch(Task.objects.filter(success=True).latest("stopped").id)

    assert task.group_count() == 3
    assert sorted(task.group_result()) == [0, 1]
