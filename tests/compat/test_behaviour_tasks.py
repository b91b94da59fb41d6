"""Tasks, iterables and chains, as Django Q2's own tests use them without a cluster."""

from collections.abc import Iterator
from copy import deepcopy
from math import copysign
from typing import Any

import pytest
from django.core.cache import cache

from django_q import signals
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import Task
from django_q.tasks import (
    AsyncTask,
    Chain,
    Iter,
    async_chain,
    async_iter,
    async_task,
    fetch,
    fetch_group,
    queue_size,
    result,
    result_group,
)
from tests.core.queueing import drain, memory_queue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(settings: Any) -> Iterator[None]:
    settings.Q_CLUSTER = memory_queue()
    yield
    cache.clear()


# Waiting


@pytest.mark.parametrize("cached", [False, True])
def test_waiting_for_what_has_not_run_ends_with_none(cached: bool) -> None:
    task_id = async_task("math.copysign", 1, -1, group="numbers", cached=cached)

    answers = [
        result(task_id, wait=10, cached=cached),
        fetch(task_id, wait=10, cached=cached),
        result_group("numbers", wait=10, cached=cached),
        result_group("numbers", count=2, wait=10, cached=cached),
        fetch_group("numbers", wait=10, cached=cached),
        fetch_group("numbers", count=2, wait=10, cached=cached),
    ]

    assert answers == [None] * 6
    assert queue_size() == 1


def test_a_cached_result_is_not_found_in_the_database() -> None:
    task_id = async_task("math.copysign", 1, -1, cached=True)
    iter_id = async_iter("math.floor", range(10), cached=True)
    drain()

    assert (result(task_id), fetch(task_id), result(iter_id)) == (None, None, None)
    assert fetch(task_id, wait=500, cached=True).result == -1
    assert result(iter_id, cached=True) == list(range(10))


# Iterables


@pytest.mark.parametrize(
    ("func", "args", "results"),
    [
        ("math.floor", list(range(10)), list(range(10))),
        ("math.copysign", [(1, -1), (2, -1), (3, -4), (5, 6)], [-1, -2, -3, 5]),
        ("math.floor", (1, 2, 3, 4, 5), [1, 2, 3, 4, 5]),
        ("math.floor", (1,), [1]),
    ],
)
def test_an_iterable_takes_lists_and_tuples_of_values_or_tuples(
    func: str, args: Any, results: list[Any]
) -> None:
    task_id = async_iter(func, args, sync=True)

    assert result(task_id) == fetch(task_id).result == results


def test_an_iter_that_was_appended_to_gives_all_results_when_it_ran_again() -> None:
    iterable = Iter("math.copysign", sync=True, cached=True)
    for pair in [(1, -1), (2, -1), (3, -4), (5, 6)]:
        iterable.append(*pair)
    assert (iterable.started, iterable.length()) == (False, 4)

    assert iterable.run()
    assert iterable.result() == iterable.fetch().result == [-1, -2, -3, 5]
    iterable.append(1, -7)
    assert iterable.result() is None
    iterable.run()

    assert iterable.result() == [-1, -2, -3, 5, -1]


def test_an_iterable_is_complete_though_the_cache_forgets_at_once(settings: Any) -> None:
    forgetful = deepcopy(settings.CACHES)
    forgetful["default"]["TIMEOUT"] = 0
    settings.CACHES = forgetful

    task_id = async_iter("math.floor", [1, 2], sync=True)

    assert result(task_id) == [1, 2]


# Chains


def test_a_chain_object_is_put_together_run_extended_and_run_again() -> None:
    chain = Chain(sync=True)
    chain.append("math.floor", 1)
    chain.append("math.copysign", 1, -1)
    chain.append("math.floor", 2)
    assert (chain.length(), chain.current()) == (3, None)

    chain.run()
    assert sorted(chain.result(wait=1000)) == [-1, 1, 2]
    assert len(chain.fetch()) == chain.current() == 3

    chain.cached = True
    chain.append("math.floor", 3)
    chain.run()
    assert sorted(chain.result(wait=1000)) == [-1, 1, 2, 3]
    assert len(chain.fetch()) == chain.current() == chain.length() == 4


def test_a_cached_synchronous_chain_leaves_its_results_in_the_cache() -> None:
    group = async_chain([("math.floor", (1,)), ("math.floor", (1,))], sync=True, cached=True)

    assert result_group(group, cached=True) == [1, 1]


# AsyncTask


def test_an_async_task_is_filled_in_attribute_by_attribute() -> None:
    broker = get_broker()
    call = AsyncTask("math.copysign")
    call.args = (1, -1)
    call.cached = call.sync = True
    call.broker = broker
    assert (call.func, call.cached, call.sync) == ("math.copysign", True, True)
    assert call.broker is broker
    assert not call.started

    call.run()

    assert call.result() == call.fetch().result == -1
    assert not Task.objects.exists()


@pytest.mark.parametrize("style", ["keywords", "q_options"])
def test_an_async_task_takes_its_options_both_ways(style: str) -> None:
    options = {"cached": True, "sync": True, "broker": get_broker()}
    given: dict[str, Any] = options if style == "keywords" else {"q_options": options}

    call = AsyncTask("math.copysign", 1, -1, **given)
    call.run()

    assert call.result() == -1


def test_an_option_that_is_set_later_goes_to_q_options_where_there_are_any() -> None:
    call = AsyncTask("math.copysign", 1, -1, q_options={"cached": True, "sync": False})
    assert not call.sync

    call.sync = True

    assert call.kwargs["q_options"]["sync"] is True
    call.run()
    assert call.result() == -1


def test_an_async_task_reads_its_cached_group() -> None:
    call = AsyncTask("math.copysign", 1, -1, q_options={"cached": True, "sync": True})
    call.run()
    call.group, call.save, call.hook = "async_class_test", False, "tests.core.queueing.hook"
    assert (call.group, call.save) == ("async_class_test", False)
    assert call.hook == "tests.core.queueing.hook"
    assert call.started is False

    call.run()

    assert call.result_group() == [-1]
    assert call.fetch_group() == [call.fetch()]


def test_an_async_task_follows_sync_and_cached_of_conf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "SYNC", True)
    monkeypatch.setattr(Conf, "CACHED", True)

    call = AsyncTask("math.floor", 1.5)
    call.run()

    assert call.result() == 1
    assert not Task.objects.exists()


# Signals


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pre_enqueue", {}),
        ("pre_execute", {"func": copysign}),
        ("post_execute_in_worker", {"result": -1}),
        ("post_execute", {"result": -1}),
    ],
)
def test_a_signal_tells_the_task_by_its_id(name: str, expected: dict[str, Any]) -> None:
    heard: list[dict[str, Any]] = []

    def hear(sender: str, task: dict[str, Any], **arguments: Any) -> None:
        # What the task holds at this moment: it is the same dict all the way.
        heard.append({"id": task["id"], "result": task.get("result"), **arguments})

    signal = getattr(signals, name)
    signal.connect(hear)
    try:
        task_id = async_task("math.copysign", 1, -1, sync=True)
    finally:
        signal.disconnect(hear)

    [told] = heard
    assert {"id": task_id, **expected}.items() <= told.items()
