"""Reading what became of a task, and waiting for it at a bounded price."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_q.conf import Conf
from django_q.errors import ConfigurationError
from django_q.models import Task
from django_q.tasks import AsyncTask, async_task, fetch, result
from django_q.tasks import results as results_module
from django_q.tasks.waiting import until
from tests.core.queueing import add, drain, fail, memory_queue, nothing

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(settings: Any) -> None:
    settings.Q_CLUSTER = memory_queue()


class Clock:
    """Time that passes only when somebody pauses."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def questions(wait: float) -> list[float]:
    """When `until` asks, in seconds from its start, if it never gets an answer."""
    clock, asked = Clock(), []
    until(lambda: asked.append(clock.now - 100.0), wait, clock, clock.pause)
    return asked


def test_a_result_is_found_by_id_and_by_name() -> None:
    task_id = async_task(add, 1, 2, task_name="one-and-two")
    drain()

    assert result(task_id) == result("one-and-two") == result(UUID(task_id)) == 3
    assert fetch(task_id).name == fetch("one-and-two").name == "one-and-two"


def test_there_is_no_result_before_the_task_has_finished() -> None:
    task_id = async_task(add, 1, 2)

    assert result(task_id) is None
    assert fetch(task_id) is None


def test_the_reason_of_a_failure_is_its_result() -> None:
    task_id = async_task(fail, "as asked")
    drain()

    assert result(task_id).startswith("as asked : Traceback")
    assert not fetch(task_id).success


@pytest.mark.parametrize("value", [0, False, "", [], {}])
def test_a_falsy_result_is_a_result(value: Any) -> None:
    task_id = async_task("copy.copy", value)
    drain()

    assert result(task_id, wait=-1) == value


def test_a_result_of_none_is_not_waited_for() -> None:
    task_id = async_task(nothing)
    drain()

    assert result(task_id, wait=-1) is None


def test_a_name_stands_for_its_newest_task() -> None:
    now = timezone.now()
    for number in range(3):
        Task.objects.create(
            id=f"{number:032}",
            name="twin",
            func="f",
            started=now,
            stopped=now - timedelta(hours=number),
            result=number,
        )

    assert result("twin") == 0
    assert fetch("twin").id == "0" * 32


@pytest.mark.parametrize("name", ["x" * 32, "a" * 32])
def test_a_name_may_be_as_long_as_an_id(name: str) -> None:
    task_id = async_task(add, 1, task_name=name)
    drain()

    assert fetch(name).id == task_id


@pytest.mark.parametrize("ask", [result, fetch])
def test_each_poll_is_one_query(ask: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        ask("f" * 32)
        ask("some-name")

    assert len(queries) == 2


def test_waiting_asks_at_most_20_times_in_the_first_second_and_5_times_in_each_one_after() -> None:
    asked = questions(wait=10_000)

    assert sum(1 for moment in asked if moment <= 1) <= 20
    for second in range(1, 10):
        assert sum(1 for moment in asked if second < moment <= second + 1) <= 5
    assert asked[-1] == pytest.approx(10)


def test_a_second_of_waiting_costs_at_most_20_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(
        results_module, "until", lambda ask, wait: until(ask, wait, clock, clock.pause)
    )

    with CaptureQueriesContext(connection) as queries:
        assert result("f" * 32, wait=1000) is None

    assert len(queries) <= 20


def test_waiting_is_over_soon_after_the_answer() -> None:
    asked = questions(wait=200)

    assert asked[1] <= 0.005


def test_no_wait_is_one_question() -> None:
    assert questions(wait=0) == [0]


def test_a_negative_wait_never_ends() -> None:
    clock = Clock()

    answer = until(lambda: "at last" if clock.now > 5000 else None, -1, clock, clock.pause)

    assert answer == "at last"


def test_an_async_task_waits_for_its_own_result() -> None:
    call = AsyncTask(add, 1, 2, group="sums")
    call.run()
    drain()

    assert call.result() == 3
    assert call.fetch().success
    assert call.result_group() == [3]
    assert [task.result for task in call.fetch_group()] == [3]


def test_an_async_task_without_a_group_has_no_group_results() -> None:
    call = AsyncTask(add, 1)
    call.run()

    assert call.result_group() is None
    assert call.fetch_group() is None


def test_cached_follows_the_settings_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = async_task(add, 1, 2)
    drain()

    monkeypatch.setattr(Conf, "CACHED", True)

    assert result(task_id) is None
    assert result(task_id, cached=False) == 3


def test_a_missing_table_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Task._meta, "db_table", "django_q_missing")

    with pytest.raises(ConfigurationError, match=r"manage\.py migrate"):
        result("f" * 32)


class Split:
    """Reads go to the replica, writes to the primary."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


@pytest.mark.parametrize(("has_replica", "alias"), [(False, "replica"), (True, "default")])
def test_results_are_read_from_the_primary_where_a_replica_lags(
    settings: Any, has_replica: bool, alias: str
) -> None:
    settings.DATABASE_ROUTERS = [Split()]
    settings.Q_CLUSTER = memory_queue(has_replica=has_replica)

    assert results_module.stored_tasks().db == alias
    assert results_module.tasks_named("some-name").db == alias
