"""The fixtures that users of the testkit get for their own tests."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from django_q.brokers import get_broker
from django_q.brokers.memory import Memory
from django_q.conf import get_settings
from django_q.tasks import async_task, fetch


@pytest.mark.django_db
@pytest.mark.usefixtures("django_q_sync")
def test_sync_runs_a_task_at_once() -> None:
    task_id = async_task("math.copysign", 2, -2)

    assert fetch(task_id).result == -2


@pytest.mark.django_db
@pytest.mark.usefixtures("django_q_sync")
def test_sync_lets_the_test_see_what_a_task_raises() -> None:
    with pytest.raises(ValueError, match="math domain error"):
        async_task("math.sqrt", -1)


def test_the_memory_broker_takes_what_is_enqueued(memory_broker: Memory) -> None:
    async_task("math.copysign", 2, -2)

    assert memory_broker.queue_size() == 1
    assert isinstance(get_broker(), Memory)


def test_enqueued_tasks_can_be_looked_at(
    enqueued_tasks: Callable[[], list[dict[str, Any]]],
) -> None:
    async_task("math.copysign", 2, -2, group="signs")
    async_task("math.sqrt", 4)

    first, second = enqueued_tasks()

    assert (first["func"], first["args"], first["group"]) == ("math.copysign", (2, -2), "signs")
    assert (second["func"], second["args"]) == ("math.sqrt", (4,))


def test_each_test_has_an_empty_queue(memory_broker: Memory) -> None:
    assert memory_broker.packages() == []


def test_without_a_fixture_settings_are_the_sites_own() -> None:
    assert get_settings().broker_class is None
    assert not get_settings().sync


def test_the_plugin_imports_neither_django_nor_django_q() -> None:
    # pytest loads it in every project it is installed in, before anything is configured.
    code = (
        "import sys, django_q_testkit.plugin; "
        "print([name for name in sys.modules if name.split('.')[0] in ('django', 'django_q')])"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
