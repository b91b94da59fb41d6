"""Tasks that run in the caller's process."""

import logging
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_q import plugins, signals
from django_q.conf import Conf, get_settings
from django_q.models import Task
from django_q.tasks import (
    AsyncTask,
    Chain,
    Iter,
    _sync,
    async_chain,
    async_iter,
    async_task,
    fetch,
    queue_size,
    result,
    result_group,
)
from django_q.tasks.enqueue import build, finish
from tests.core import queueing
from tests.core.queueing import add, fail, failing_hook, hook, memory_queue, waiting

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _memory(settings: Any) -> Any:
    settings.Q_CLUSTER = memory_queue()
    queueing.hooked.clear()
    yield
    cache.clear()


def test_a_synchronous_task_has_run_when_the_call_returns() -> None:
    task_id = async_task(add, 1, 2, sync=True)

    assert result(task_id) == 3
    assert queue_size() == 0


def test_the_settings_may_make_every_task_synchronous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "SYNC", True)

    assert result(async_task(add, 1, 2)) == 3
    async_task(add, 1, 2, sync=False)

    assert len(waiting()) == 1


def test_the_row_keeps_the_options_that_have_no_column() -> None:
    chain = [(add, (3, 4), {})]
    task_id = async_task(add, 1, 2, sync=True, timeout=9, save=True, chain=chain, group="sums")
    plain_id = async_task(add, 1, 2, sync=True, group="sums")

    assert Task.objects.get(pk=task_id).options == {"timeout": 9, "save": True, "chain": chain}
    assert Task.objects.filter(pk=plain_id, options__isnull=True).exists()


def test_the_row_of_an_iterable_keeps_how_many_items_it_had() -> None:
    group = async_iter(add, [1, 2, 3], sync=True)

    assert Task.objects.get(pk=group).options == {"iter_length": 3}


def test_a_synchronous_failure_is_saved_and_then_raised() -> None:
    with pytest.raises(ValueError, match="as asked"):
        async_task(fail, "as asked", sync=True)

    task = Task.objects.get()
    assert not task.success
    assert task.result.startswith("as asked : Traceback")


def test_a_missing_function_is_a_failed_task() -> None:
    with pytest.raises(Exception, match=r"my\.buggy\.code"):
        async_task("my.buggy.code", sync=True)

    assert not Task.objects.get().success


def test_the_hook_runs_before_the_failure_is_raised() -> None:
    with pytest.raises(ValueError, match="as asked"):
        async_task(fail, sync=True, hook=hook)

    assert [task.success for task in queueing.hooked] == [False]


def test_the_hook_gets_the_finished_task() -> None:
    task_id = async_task(add, 1, 2, sync=True, hook="tests.core.queueing.hook")

    (task,) = queueing.hooked
    assert (task.id, task.result, task.success) == (task_id, 3, True)


@pytest.mark.parametrize("options", [{"save": False}, {"cached": True}])
def test_the_hook_runs_for_results_that_are_not_saved(options: dict[str, Any]) -> None:
    async_task(add, 1, 2, sync=True, hook=hook, **options)

    assert [task.result for task in queueing.hooked] == [3]
    assert not Task.objects.exists()


def test_a_hook_that_fails_leaves_the_result() -> None:
    task_id = async_task(add, 1, 2, sync=True, hook=failing_hook)

    assert result(task_id) == 3


def test_an_unsaved_task_costs_no_query() -> None:
    with CaptureQueriesContext(connection) as queries:
        async_task(add, 1, 2, sync=True, save=False)

    assert len(queries) == 0


def test_the_log_says_what_was_processed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "django-q"):
        async_task(add, 1, sync=True, task_name="one")

    assert "Processed 'tests.core.queueing.add' (one)" in caplog.text


def test_every_signal_is_sent() -> None:
    heard: list[str] = []

    def hear(signal: Any, **_: Any) -> None:
        heard.append(next(name for name in vars(signals) if getattr(signals, name) is signal))

    sent = ["pre_enqueue", "pre_execute", "post_execute_in_worker", "post_execute"]
    for name in sent:
        getattr(signals, name).connect(hear)
    try:
        async_task(add, 1, sync=True)
    finally:
        for name in sent:
            getattr(signals, name).disconnect(hear)

    assert heard == sent


class Refusing:
    """A plugin that lets no task run."""

    @staticmethod
    @plugins.hookimpl
    def pre_execute() -> None:
        raise ValueError("not today")


def test_where_a_plugins_pre_execute_raises_the_task_fails() -> None:
    manager = plugins.get_manager()
    manager.register(Refusing, "refusing")
    try:
        with pytest.raises(ValueError, match="not today"):
            async_task(add, 1, sync=True)
    finally:
        manager.unregister("refusing")

    assert Task.objects.get().result.startswith("not today")


def test_the_callers_transaction_goes_on() -> None:
    with transaction.atomic():
        task_id = async_task(add, 1, 2, sync=True)
        transaction.set_rollback(True)

    assert result(task_id) is None
    assert connection.connection is not None


def test_a_synchronous_task_may_be_cached() -> None:
    task_id = async_task(add, 1, 2, sync=True, cached=True)

    assert result(task_id, cached=True) == 3
    assert not Task.objects.exists()


def test_synchronous_tasks_form_groups() -> None:
    for number in range(3):
        async_task(add, number, group="numbers", sync=True)

    assert sorted(result_group("numbers")) == [0, 1, 2]


def test_a_synchronous_chain_runs_to_its_end() -> None:
    group = async_chain([(add, (1,)), (add, (2,)), (add, (3,))], sync=True)

    assert sorted(result_group(group)) == [1, 2, 3]
    assert queue_size() == 0


def test_a_synchronous_chain_ends_at_a_failed_link() -> None:
    with pytest.raises(ValueError, match="as asked"):
        async_chain([(add, (1,)), fail, (add, (3,))], sync=True)

    assert Task.objects.count() == 2


def test_a_chain_object_may_be_synchronous() -> None:
    chain = Chain([(add, (1,)), (add, (2,))], sync=True, cached=True)
    chain.run()

    assert sorted(chain.result()) == [1, 2]


def test_a_synchronous_iterable_is_collated() -> None:
    assert result(async_iter(add, [1, 2], sync=True)) == [1, 2]
    assert result(async_iter(add, [], sync=True)) == []


def test_a_synchronous_iterable_is_complete_before_its_failure_is_raised() -> None:
    with pytest.raises(ValueError, match="two"):
        async_iter("builtins.int", ["1", "two", "3"], sync=True)

    task = Task.objects.get()
    assert not task.success
    assert [task.result[0], task.result[2]] == [1, 3]


def test_an_iter_may_be_synchronous() -> None:
    iterable = Iter(add, [1, 2], sync=True, cached=True)
    iterable.run()

    assert iterable.result() == [1, 2]


def test_an_async_task_may_be_synchronous() -> None:
    call = AsyncTask(add, 1, 2)
    call.sync = True
    call.run()

    assert call.result() == 3
    assert call.fetch().success


def test_a_package_can_be_run_by_hand() -> None:
    settings = get_settings()
    task = build(add, (1, 2), {}, settings)

    task_id = _sync(finish(task, settings))

    assert fetch(task_id).result == 3


def test_a_package_that_is_run_twice_is_recorded_once() -> None:
    signed = finish(build(add, (1, 2), {}, get_settings()), get_settings())

    _sync(signed)
    _sync(signed)

    assert Task.objects.get().result == 3


def test_a_completed_iterable_sends_its_own_signal() -> None:
    heard: list[str] = []

    def hear(task: dict[str, Any], **_: Any) -> None:
        heard.append(task["id"])

    signals.post_execute.connect(hear)
    try:
        task_id = async_iter(add, [1, 2], sync=True)
    finally:
        signals.post_execute.disconnect(hear)

    assert len(heard) == 3
    assert heard[-1] == task_id


def test_a_synchronous_task_needs_no_broker(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker_class": "no.such.Broker"}

    assert result(async_task(add, 1, 2, sync=True)) == 3


def test_a_result_that_does_not_pickle_is_a_failed_task() -> None:
    with pytest.raises(Exception, match="pickle"):
        async_task("tests.core.queueing.generator", sync=True)

    assert not Task.objects.latest("stopped").success
