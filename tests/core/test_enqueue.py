"""What async_task puts into the queue, and what it refuses."""

import logging
import pickle
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone

from django_q.brokers import Broker
from django_q.conf import Conf, get_settings
from django_q.errors import ConfigurationError, TaskRefused, UnsupportedByBroker
from django_q.signals import pre_enqueue
from django_q.tasks import AsyncTask, async_task, enqueue, queue_size
from tests.core.queueing import add, memory_queue, waiting


@pytest.fixture(autouse=True)
def _memory(settings: Any) -> None:
    settings.Q_CLUSTER = memory_queue()


class Recorder(Broker):
    """Keeps what it is given."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self.packages: list[Any] = []

    def enqueue(self, package: Any, **options: Any) -> Any:
        self.packages.append(package)
        return f"receipt-{len(self.packages)}"


def test_a_task_carries_its_call_and_a_name() -> None:
    task_id = async_task(add, 1, b=2)

    (task,) = waiting()
    assert (task["func"], task["args"], task["kwargs"]) == (add, (1,), {"b": 2})
    assert task["id"] == task_id
    assert len(task_id) == 32
    assert len(task["name"].split("-")) == 4
    assert timezone.now() - task["started"] < timedelta(minutes=1)
    assert set(task) == {"id", "name", "func", "args", "kwargs", "started"}


def test_options_describe_the_task_and_never_reach_the_function() -> None:
    async_task(
        "math.copysign",
        2,
        -2,
        hook="math.floor",
        group="numbers",
        save=False,
        cached=30,
        ack_failure=True,
        timeout=1.5,
        task_name="mine",
        own="keyword",
    )

    (task,) = waiting()
    assert task["kwargs"] == {"own": "keyword"}
    assert task["name"] == "mine"
    assert {key: task[key] for key in ("hook", "group", "save", "cached", "ack_failure")} == {
        "hook": "math.floor",
        "group": "numbers",
        "save": False,
        "cached": 30,
        "ack_failure": True,
    }
    assert task["timeout"] == 1.5


def test_q_options_win_over_keywords_and_free_their_names_for_the_function() -> None:
    async_task(add, group="the function's", q_options={"group": "ours"}, timeout=3)

    (task,) = waiting()
    assert task["group"] == "ours"
    assert task["kwargs"] == {"group": "the function's"}
    assert task["timeout"] == 3


def test_the_callers_q_options_are_left_as_they_were() -> None:
    options = {"group": "ours", "task_name": "named"}

    async_task(add, 1, q_options=options)

    (task,) = waiting()
    assert task["name"] == "named"
    assert options == {"group": "ours", "task_name": "named"}


def test_a_task_name_among_the_keywords_wins() -> None:
    async_task(add, 1, task_name="keyword", q_options={"task_name": "option"})

    (task,) = waiting()
    assert task["name"] == "keyword"
    assert task["kwargs"] == {}


def test_settings_fill_in_what_the_call_leaves_open(settings: Any) -> None:
    settings.Q_CLUSTER = memory_queue(cached=60, ack_failures=True)

    async_task(add, 1)
    async_task(add, 1, cached=False, ack_failure=False)

    told, overridden = waiting()
    assert (told["cached"], told["ack_failure"]) == (60, True)
    assert (overridden["cached"], overridden["ack_failure"]) == (False, False)


def test_an_assignment_to_conf_counts_for_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "CACHED", 5)

    async_task(add, 1)

    assert waiting()[0]["cached"] == 5


def test_a_task_for_another_cluster_goes_to_its_queue() -> None:
    async_task(add, 1, cluster="elsewhere")

    assert waiting() == []


def test_a_given_broker_is_used_and_not_packed() -> None:
    broker = Recorder("mine")

    async_task(add, 1, broker=broker)

    assert len(broker.packages) == 1
    assert queue_size() == 0


def test_the_log_names_queue_and_receipt(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "django-q"):
        async_task(add, 1, broker=Recorder("mine"))

    assert "Enqueued [mine] receipt-1" in caplog.text


def test_a_receiver_of_pre_enqueue_may_change_the_task() -> None:
    def rename(task: dict[str, Any], **_: Any) -> None:
        task["name"] = "renamed"

    pre_enqueue.connect(rename)
    try:
        async_task(add, 1)
    finally:
        pre_enqueue.disconnect(rename)

    assert waiting()[0]["name"] == "renamed"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"task_name": "n" * 101}, ["name", "100", "101"]),
        ({"group": "g" * 150}, ["group", "100", "150"]),
        ({"timeout": 0}, ["timeout", "0"]),
        ({"timeout": -1}, ["timeout", "-1"]),
        ({"timeout": "ten"}, ["timeout", "'ten'"]),
        ({"timeout": True}, ["timeout", "True"]),
        ({"timeout": float("nan")}, ["timeout", "nan"]),
    ],
)
def test_what_could_not_be_recorded_is_refused_with_limit_and_value(
    options: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(TaskRefused) as refusal:
        async_task(add, 1, **options)

    assert all(word in str(refusal.value) for word in named), refusal.value
    assert queue_size() == 0


@pytest.mark.parametrize("func", [None, 3, "", "no path", "not_dotted", "a..b", ("math.floor",)])
def test_a_func_that_is_no_function_is_refused(func: Any) -> None:
    with pytest.raises(TaskRefused, match="callable or a dotted path"):
        async_task(func, 1)


def test_a_func_of_more_than_256_characters_is_refused() -> None:
    with pytest.raises(TaskRefused, match=r"256 characters, not 302"):
        async_task("m." + "f" * 300, 1)


@pytest.mark.parametrize("timeout", [1, 0.5, None])
def test_a_timeout_is_a_positive_number_or_none(timeout: float | None) -> None:
    async_task(add, 1, timeout=timeout)

    assert waiting()[0]["timeout"] == timeout


def test_an_argument_that_does_not_pickle_is_named() -> None:
    with pytest.raises(TaskRefused, match=r"argument 1 .*generator"):
        async_task(add, 1, (number for number in range(3)))


def test_a_keyword_argument_that_does_not_pickle_is_named() -> None:
    with pytest.raises(TaskRefused, match="keyword argument 'b'"):
        async_task(add, 1, b=lambda: None)


def test_a_function_that_does_not_pickle_is_named() -> None:
    with pytest.raises(TaskRefused, match="func of task"):
        async_task(lambda: None)


class Stubborn:
    """Raises what it likes when it is pickled."""

    def __reduce__(self) -> Any:
        raise LookupError("not today")


def test_an_argument_that_raises_when_pickled_is_refused() -> None:
    with pytest.raises(TaskRefused, match=r"argument 0 .*not today"):
        async_task(add, Stubborn())


def test_a_task_larger_than_the_broker_takes_is_refused() -> None:
    class Small(Recorder):
        max_package_bytes = 100

    with pytest.raises(TaskRefused, match=r"\d+ bytes; .*at most 100"):
        async_task(add, "x" * 100, broker=Small())


def test_a_broker_is_not_asked_for_what_it_cannot_do() -> None:
    broker = Recorder()
    later = timezone.now() + timedelta(hours=1)

    with pytest.raises(UnsupportedByBroker, match="priority=3"):
        enqueue.put(broker, "text", priority=3)
    with pytest.raises(UnsupportedByBroker, match="cannot keep a task back"):
        enqueue.put(broker, "text", available_at=later)
    assert broker.packages == []


def test_a_delay_beyond_the_brokers_reach_is_refused() -> None:
    class Patient(Recorder):
        supports_delay = True
        max_delay = 900

    with pytest.raises(UnsupportedByBroker, match="900 s at most"):
        enqueue.put(Patient(), "text", available_at=timezone.now() + timedelta(hours=1))


def test_a_missing_table_is_explained() -> None:
    class Unmigrated(Recorder):
        def enqueue(self, package: Any, **options: Any) -> Any:
            raise OperationalError("no such table: django_q_ormq")

    with pytest.raises(ConfigurationError, match=r"manage\.py migrate"):
        async_task(add, 1, broker=Unmigrated())


def test_an_uninstalled_app_is_explained() -> None:
    with (
        override_settings(INSTALLED_APPS=[], Q_CLUSTER=memory_queue()),
        pytest.raises(ConfigurationError, match="INSTALLED_APPS"),
    ):
        async_task(add, 1)


def test_packing_leaves_no_function_of_the_caller_behind(settings: Any) -> None:
    settings.Q_CLUSTER = memory_queue(serializer="json")

    async_task(add, 1)

    assert waiting()[0]["func"] == "tests.core.queueing.add"


# AsyncTask


def test_an_async_task_runs_with_its_options() -> None:
    call = AsyncTask(add, 1, group="numbers")
    call.cached = 30
    call.hook = "math.floor"
    call.save = False

    task_id = call.run()

    (task,) = waiting()
    assert task["id"] == call.id == task_id
    assert (task["group"], task["cached"], task["hook"], task["save"]) == (
        "numbers",
        30,
        "math.floor",
        False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("cached", 3), ("group", "other"), ("hook", "math.ceil"), ("save", True)),
        *(("sync", False), ("broker", None), ("func", "math.ceil"), ("args", (2,))),
        ("kwargs", {"b": 3}),
    ],
)
def test_a_changed_async_task_must_run_again(name: str, value: Any) -> None:
    call = AsyncTask(add, 1)
    call.run()

    setattr(call, name, value)

    assert getattr(call, name) == value
    assert not call.started
    assert call.result() is None


def test_the_options_of_an_async_task_may_be_in_q_options() -> None:
    options = {"group": "numbers"}
    call = AsyncTask(add, 1, q_options=options)

    call.group = "others"

    assert call.group == "others"
    assert options == {"group": "numbers"}


def test_everything_that_tasks_ever_exported_is_there() -> None:
    from django_q import tasks

    for name in tasks.__all__:
        assert getattr(tasks, name) is not None, name
    assert set(tasks.__all__) <= set(dir(tasks))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tasks.nothing  # noqa: B018


def test_a_packed_task_is_a_pickle_that_django_q2_reads() -> None:
    broker = Recorder()
    async_task("math.floor", 1.5, broker=broker)

    from django.core import signing

    class Pickle:
        dumps = staticmethod(pickle.dumps)
        loads = staticmethod(pickle.loads)

    task = signing.loads(broker.packages[0], salt=get_settings().name, serializer=Pickle)
    assert (task["func"], task["args"]) == ("math.floor", (1.5,))
