"""Finished tasks that are queued again from the admin, with all that they were queued with."""

from __future__ import annotations

import logging
from base64 import b64encode
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from django_q.errors import BrokerUnavailable
from django_q.models import Failure, OrmQ, Success, Task
from django_q.tasks import async_chain, async_iter, async_task, queue_size
from tests.core.queueing import drain, memory_queue, waiting

pytestmark = pytest.mark.django_db

HERE = "tests.core.queueing"


@pytest.fixture(autouse=True)
def _memory(settings: Any) -> None:
    settings.Q_CLUSTER = memory_queue()


@pytest.fixture
def site() -> Client:
    """Return a client that may do everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def resubmit(site: Client, *tasks: Task, model: str = "failure") -> str:
    form = {"action": "resubmit_task", "_selected_action": [task.pk for task in tasks]}
    url = reverse(f"admin:django_q_{model}_changelist")
    return site.post(url, form, follow=True).content.decode()


def failed(*args: Any, **options: Any) -> Task:
    """A task that has failed, as a cluster records it."""
    task_id = async_task(f"{HERE}.fail", *args, **options)
    drain()
    return Task.objects.get(pk=task_id)


def corrupt(task: Task) -> None:
    """Put into its arguments what no unpickling understands."""
    text = b64encode(b"garbage").decode()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_q_task SET args = %s WHERE id = %s", [text, task.pk])


# What is preserved


def test_a_failure_is_queued_again_with_everything_and_its_row_goes(
    site: Client, settings: Any
) -> None:
    row = failed(
        "again", hook=f"{HERE}.hook", group="mails", timeout=9, save=True, ack_failure=True,
        task_name="my-task",
    )  # fmt: skip

    queue = settings.Q_CLUSTER["name"]
    Task.objects.update(cluster=queue)  # as a worker says it

    page = resubmit(site, row)

    (task,) = waiting()
    assert task["id"] != row.pk
    assert (task["func"], task["args"], task["kwargs"]) == (f"{HERE}.fail", ("again",), {})
    assert (task["name"], task["hook"], task["group"]) == ("my-task", f"{HERE}.hook", "mails")
    assert (task["timeout"], task["save"], task["ack_failure"]) == (9, True, True)
    assert task["cluster"] == queue
    assert not Task.objects.exists()
    assert "1 task was resubmitted." in page


def test_keywords_of_the_function_that_are_spelled_like_options_reach_it(site: Client) -> None:
    kwargs = {"group": "of people", "timeout": "never", "q_options": 1, "task_name": "x"}
    row = failed()
    row.kwargs = kwargs
    row.save()

    resubmit(site, row)

    (task,) = waiting()
    assert task["kwargs"] == kwargs
    assert "timeout" not in task


def test_a_failure_takes_the_rest_of_its_chain_along(site: Client) -> None:
    group = async_chain([(f"{HERE}.fail", ()), (f"{HERE}.add", (1, 2))])
    drain()

    resubmit(site, Failure.objects.get())

    (task,) = waiting()
    assert task["chain"] == [(f"{HERE}.add", (1, 2))]
    assert task["group"] == group


def test_a_success_stays_and_does_not_run_its_chain_a_second_time(site: Client) -> None:
    async_chain([(f"{HERE}.add", (1, 2)), (f"{HERE}.add", (3, 4))])
    drain()
    (first,) = (task for task in Success.objects.all() if task.args == (1, 2))

    resubmit(site, first, model="success")

    (task,) = waiting()
    assert task["args"] == (1, 2)
    assert "chain" not in task
    assert Success.objects.count() == 2


def test_the_list_of_an_iterable_is_worked_off_item_by_item_again(site: Client) -> None:
    async_iter(f"{HERE}.fail", ["one", "two"])
    drain()

    resubmit(site, Failure.objects.get())

    assert [task["args"] for task in drain()] == [("one",), ("two",)]
    assert Failure.objects.get().args == ["one", "two"]


def test_what_the_cache_would_get_is_recorded_again(site: Client, settings: Any) -> None:
    row = failed()
    settings.Q_CLUSTER = settings.Q_CLUSTER | {"cached": True}

    resubmit(site, row)

    (task,) = waiting()
    assert "cached" not in task


def test_where_tasks_run_in_the_caller_a_resubmitted_one_does(site: Client, settings: Any) -> None:
    task_id = async_task(f"{HERE}.add", 1, 2)
    drain()
    settings.Q_CLUSTER = settings.Q_CLUSTER | {"sync": True}

    resubmit(site, Task.objects.get(pk=task_id), model="success")

    assert [task.result for task in Success.objects.all()] == [3, 3]


# What cannot be queued again


def test_what_cannot_be_queued_again_stays_and_is_named_and_the_others_go_on(
    site: Client,
) -> None:
    rows = [failed(task_name=name) for name in ("unreadable", "lambda", "good")]
    corrupt(rows[0])
    Task.objects.filter(pk=rows[1].pk).update(func="shop.tasks.<lambda>")

    page = resubmit(site, *rows)

    assert "1 task was resubmitted." in page
    assert "2 tasks were not resubmitted:" in page
    assert "unreadable: its Arguments cannot be unpickled (UnpicklingError:" in page
    assert "lambda: func must be a callable or a dotted path" in page
    assert {task.name for task in Failure.objects.all()} == {"unreadable", "lambda"}
    assert queue_size() == 1


def test_while_the_broker_is_away_all_stays_and_it_is_asked_once(
    site: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [failed(), failed()]
    asked: list[str] = []

    def refuse(broker: Any, package: str, **options: Any) -> None:
        asked.append(package)
        raise BrokerUnavailable("the broker is away")

    monkeypatch.setattr("django_q.brokers.memory.Memory.enqueue", refuse)

    page = resubmit(site, *rows)

    assert page.count("the broker is away") == 2
    assert len(asked) == 1
    assert Failure.objects.count() == 2
    assert not LogEntry.objects.exists()


def test_with_the_queue_in_the_same_database_nothing_is_doubled_by_an_error(
    site: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = failed()
    settings.Q_CLUSTER = {"name": "tests", "orm": "default"}

    def fail(*args: Any) -> None:
        raise RuntimeError("no history")

    monkeypatch.setattr("django_q.admin.tasks.FailAdmin.log_deletions", fail)
    page = resubmit(site, row)

    assert "no history" in page
    assert (Failure.objects.count(), OrmQ.objects.count()) == (1, 0)


# Who may, and who did


def test_the_history_and_the_log_tell_who_did_it(
    site: Client, caplog: pytest.LogCaptureFixture
) -> None:
    row = failed(task_name="my-task")

    with caplog.at_level(logging.INFO, "django-q"):
        resubmit(site, row)

    (task,) = waiting()
    entries = {entry.action_flag: entry for entry in LogEntry.objects.all()}
    assert {entry.object_id for entry in entries.values()} == {row.pk}
    assert entries[CHANGE].get_change_message() == f"Resubmitted as task {task['id']}."
    assert entries[DELETION].object_repr == "my-task"
    assert "Resubmit tasks in the admin by root: 1 done, 0 left" in caplog.messages


@pytest.mark.parametrize(
    ("permissions", "is_done"),
    [
        (["view_failure"], False),
        (["view_failure", "change_failure"], False),
        (["view_failure", "change_failure", "delete_failure"], True),
    ],
)
def test_a_failure_is_resubmitted_by_who_may_change_and_delete_it(
    site: Client, permissions: list[str], is_done: bool
) -> None:
    row = failed()
    user = User.objects.create_user("operator", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    site.force_login(user)

    resubmit(site, row)

    assert (queue_size(), Failure.objects.count()) == ((1, 0) if is_done else (0, 1))
