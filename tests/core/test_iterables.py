"""One function over many arguments, and one list of results."""

import pickle
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_q import humanhash
from django_q.brokers import Broker, get_broker
from django_q.errors import TaskRefused
from django_q.models import IterItem, Task
from django_q.tasks import Iter, async_iter, fetch, queue_size, result
from django_q.tasks.iterables import final_template
from tests.core.queueing import add, drain, fail, memory_queue, options_of, waiting, work_off

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(settings: Any) -> Any:
    settings.Q_CLUSTER = memory_queue()
    yield
    cache.clear()


def test_the_results_are_one_list_in_the_order_of_the_arguments() -> None:
    task_id = async_iter("math.floor", [0.5, 1.5, 2.5])
    drain()

    assert result(task_id) == [0, 1, 2]
    task = fetch(task_id)
    assert task.success
    assert task.func == "math.floor"
    assert task.name == humanhash.humanize(task_id)
    assert task.args == [0.5, 1.5, 2.5]


@pytest.mark.parametrize("args", [[1, (2, 3)], [(1,), (2,)], [(1, 2), (3, 4)]])
def test_the_collated_task_shows_the_arguments_as_they_were_given(args: list[Any]) -> None:
    task_id = async_iter(add, args)
    drain()

    assert fetch(task_id).args == args


def test_the_order_in_which_items_finish_does_not_matter() -> None:
    task_id = async_iter(add, [(1, 1), (2, 2), (3, 3)])
    items = waiting()

    for item in reversed(items):
        work_off(item, get_broker())

    assert result(task_id) == [2, 4, 6]


def test_there_is_no_result_before_the_last_item_has_finished() -> None:
    task_id = async_iter(add, [1, 2])
    first, second = waiting()

    work_off(first, get_broker())
    assert result(task_id) is None
    work_off(second, get_broker())

    assert result(task_id) == [1, 2]


def test_the_items_leave_nothing_behind() -> None:
    async_iter(add, [1, 2, 3])
    drain()

    assert Task.objects.count() == 1
    assert not IterItem.objects.exists()


def test_an_item_that_runs_twice_counts_once() -> None:
    task_id = async_iter(add, [1, 2])
    first, second = waiting()

    work_off(dict(first), get_broker())
    assert result(task_id) is None
    work_off(second, get_broker())

    assert result(task_id) == [1, 2]


def test_a_failed_item_leaves_its_reason_in_its_place() -> None:
    task_id = async_iter("builtins.int", ["1", "two", "3"])
    drain()

    task = fetch(task_id)
    assert not task.success
    assert task.result[0] == 1
    assert task.result[2] == 3
    assert "invalid literal" in task.result[1]


def test_items_carry_their_place() -> None:
    task_id = async_iter(add, [1, (2, 3)], task_name="sums", timeout=3, b=1)

    first, second = waiting()
    assert [first["iter_index"], second["iter_index"]] == [0, 1]
    assert [first["args"], second["args"]] == [(1,), (2, 3)]
    assert first["id"] != second["id"]
    for item in (first, second):
        assert item["group"] == task_id
        assert item["iter_count"] == 2
        assert item["kwargs"] == {"b": 1}
        assert (item["name"], item["timeout"]) == ("sums", 3)


def test_the_items_are_queued_in_one_call() -> None:
    class Counting(Broker):
        batches: list[int] = []

        def enqueue_many(self, packages: Any, **options: Any) -> list[Any]:
            self.batches.append(len(packages))
            return [None] * len(packages)

    async_iter(add, range(50), broker=Counting())

    assert Counting.batches == [50]


def test_queueing_many_items_costs_no_query() -> None:
    with CaptureQueriesContext(connection) as queries:
        async_iter(add, range(50))

    assert len(queries) == 0


def test_any_iterable_will_do() -> None:
    task_id = async_iter(add, (number for number in range(3)))
    drain()

    assert result(task_id) == [0, 1, 2]


def test_no_arguments_give_an_empty_list() -> None:
    task_id = async_iter(add, [])
    drain()

    assert result(task_id) == []
    assert Task.objects.get().id == task_id


def test_hooks_are_left_out_and_the_callers_options_left_alone() -> None:
    options = {"hook": "no.such.hook", "timeout": 3}

    async_iter(options_of, [()], q_options=options, group="the function's")

    (item,) = waiting()
    assert "hook" not in item
    assert item["timeout"] == 3
    assert options == {"hook": "no.such.hook", "timeout": 3}


def test_a_list_of_results_may_go_to_the_cache() -> None:
    task_id = async_iter(add, [1, 2], cached=True)
    drain()

    assert result(task_id, cached=True) == [1, 2]
    assert not Task.objects.exists()


def test_a_bad_item_is_refused_before_any_is_queued() -> None:
    with pytest.raises(TaskRefused, match="argument 0"):
        async_iter(add, [1, lambda: None])

    assert queue_size() == 0


def test_the_template_of_the_final_row_carries_neither_item_nor_arguments() -> None:
    async_iter(add, [1], b=2)
    (item,) = waiting()

    template = pickle.loads(final_template(item))

    assert template["id"] == item["group"]
    assert template["kwargs"] == {"b": 2}
    assert not {"args", "result", "iter_count", "iter_index", "group"} & set(template)


# Iter


def test_an_iter_collects_its_results() -> None:
    iterable = Iter("math.copysign")
    assert iterable.append(1, -1) == 1
    assert iterable.append(2, -1) == 2
    iterable.append(3, -1)

    iterable.run()
    assert iterable.result() is None
    drain()

    assert iterable.result() == [-1.0, -2.0, -3.0]
    assert iterable.fetch().success
    assert iterable.length() == 3


def test_an_iter_that_was_appended_to_must_run_again() -> None:
    iterable = Iter(add, [1])
    iterable.run()
    drain()

    iterable.append(2)

    assert not iterable.started
    assert iterable.result() is None


def test_an_iter_leaves_what_it_was_given_alone() -> None:
    args, kwargs = [1], {"b": 2}
    iterable = Iter(add, args, kwargs)

    iterable.append(2)
    iterable.run()

    assert (args, kwargs) == ([1], {"b": 2})


def test_a_failing_iter_is_read_like_any_other() -> None:
    iterable = Iter(fail, ["one"])
    iterable.run()
    drain()

    assert iterable.result()[0].startswith("one : ")
