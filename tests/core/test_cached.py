"""Results that are kept in the cache instead of the database."""

from typing import Any

import pytest
from django.core.cache import cache

from django_q.brokers import get_broker
from django_q.models import Task
from django_q.tasks import (
    async_task,
    count_group,
    count_group_cached,
    delete_cached,
    delete_group,
    delete_group_cached,
    fetch,
    fetch_cached,
    fetch_group,
    fetch_group_cached,
    result,
    result_cached,
    result_group,
    result_group_cached,
)
from tests.core.queueing import add, drain, fail, memory_queue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(settings: Any) -> Any:
    settings.Q_CLUSTER = memory_queue()
    yield
    cache.clear()


def finish_group() -> None:
    for number in range(2):
        async_task(add, number, group="numbers", cached=True)
    async_task(fail, "as asked", group="numbers", cached=True)
    drain()


def test_a_cached_result_never_reaches_the_database() -> None:
    task_id = async_task(add, 1, 2, cached=True)
    drain()

    assert result(task_id, cached=True) == result_cached(task_id) == 3
    assert not Task.objects.exists()


def test_a_cached_task_can_be_saved() -> None:
    task_id = async_task(add, 1, b=2, cached=30, group="sums")
    drain()

    fetch(task_id, cached=True).save()

    task = Task.objects.get()
    assert (task.id, task.args, task.kwargs, task.result) == (task_id, (1,), {"b": 2}, 3)
    assert task.group == "sums"


def test_a_cached_result_can_be_deleted() -> None:
    task_id = async_task(add, 1, 2, cached=True)
    drain()

    assert delete_cached(task_id)
    assert not delete_cached(task_id)
    assert result_cached(task_id) is None
    assert fetch_cached(task_id) is None


def test_the_results_of_a_cached_group() -> None:
    finish_group()

    assert sorted(result_group("numbers", cached=True)) == [0, 1]
    assert len(result_group_cached("numbers", failures=True)) == 3
    assert len(fetch_group("numbers", cached=True)) == 3
    assert {task.success for task in fetch_group_cached("numbers", failures=False)} == {True}
    assert count_group("numbers", cached=True) == 3
    assert count_group_cached("numbers", failures=True) == 1


def test_a_count_is_waited_for_at_the_given_broker() -> None:
    broker = get_broker("elsewhere")
    finish_group()

    assert result_group_cached("numbers", count=3, wait=20, broker=broker) is None
    assert len(result_group_cached("numbers", count=3, failures=True, broker=get_broker())) == 3


def test_a_cached_group_can_be_deleted() -> None:
    finish_group()

    delete_group("numbers", cached=True)

    assert count_group_cached("numbers") is None
    assert result_group_cached("numbers") is None


def test_an_unknown_cached_group_can_be_asked_for_and_deleted() -> None:
    assert count_group_cached("nobody") is None
    assert fetch_group_cached("nobody") is None
    delete_group_cached("nobody")


def test_an_evicted_result_is_missing_from_its_group() -> None:
    finish_group()
    task_id = fetch_group_cached("numbers", failures=False)[0].id

    delete_cached(task_id)

    assert len(result_group_cached("numbers", failures=True)) == 2


def test_without_a_broker_the_settings_name_cache_and_queue() -> None:
    task_id = async_task(add, 1, 2, cached=True)
    drain()

    assert result_cached(task_id, broker=get_broker()) == result_cached(task_id) == 3
