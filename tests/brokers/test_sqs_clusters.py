"""Clusters on SQS: what they hold is theirs while they live, and comes back when they die."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests import sqs_server
from tests.harness import Project

ENQUEUE = """
from django_q.tasks import async_task
for number in range({count}):
    async_task("tests.jobs.ok", f"task-{{number}}")
"""

FAIL = "from django_q.tasks import async_task\nasync_task('tests.jobs.fail', 'failure')"

HOLD = "from django_q.tasks import async_task\nasync_task('tests.jobs.gate', 'held', {gate!r})"

ENQUEUE_FAR = """
from django_q.tasks import async_task
for number in range(2):
    async_task("tests.jobs.ok", f"far-{{number}}", cluster={name!r})
"""

SIZES_OF_BOTH = """
from django_q.brokers import get_broker
[[type(broker).__name__, broker.queue_size()] for broker in map(get_broker, {names!r})]
"""

Configure = Callable[..., None]
Sizes = Callable[[], list[int]]


@pytest.fixture
def server(sqs: sqs_server.Sqs) -> sqs_server.Sqs:
    """Return the server, with the time that everybody has."""
    sqs.be_punctual()
    return sqs


@pytest.fixture
def name() -> str:
    """Return the name of a queue of the test's own."""
    return f"cluster-{uuid4().hex[:8]}"


@pytest.fixture
def configure(project: Project, server: sqs_server.Sqs, name: str) -> Configure:
    """Return what writes the settings of a project on SQS."""

    def configure(**options: Any) -> None:
        project.configure({"name": name, "orm": None, "sqs": server.settings()} | options)

    configure()
    return configure


@pytest.fixture
def sizes(server: sqs_server.Sqs, name: str) -> Sizes:
    """Return what counts the messages that wait, and those that are claimed."""
    client = server.client()

    def sizes() -> list[int]:
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        counted = "ApproximateNumberOfMessages"
        return [int(found[counted]), int(found[f"{counted}NotVisible"])]

    return sizes


def test_two_clusters_share_the_work_and_do_each_task_once(
    project: Project, configure: Configure, sizes: Sizes
) -> None:
    configure(save_limit=0)
    for _ in range(2):
        project.start_cluster().wait_for_line("running")

    project.run(ENQUEUE.format(count=100))
    tasks = project.wait_for_tasks(100)

    project.wait_until(lambda: sizes() == [0, 0], what="an empty queue")
    assert {task["success"] for task in tasks} == {1}
    assert project.starts() == {f"task-{number}": 1 for number in range(100)}


def test_the_work_of_a_killed_cluster_comes_back_after_retry(
    project: Project, configure: Configure
) -> None:
    configure(retry=2, timeout=1, workers=1)
    gate = project.gate()
    project.run(HOLD.format(gate=gate.path))
    killed = project.start_cluster()
    project.wait_for_starts(1)

    killed.kill(group=True)
    killed.wait()
    gate.open()
    project.start_cluster()

    (task,) = project.wait_for_tasks(1)
    assert task["success"] == 1
    assert project.starts() == {"held": 2}


def test_a_task_longer_than_the_visibility_timeout_runs_once(
    project: Project, configure: Configure, sizes: Sizes
) -> None:
    configure(retry=1, workers=1)
    gate = project.gate()
    for _ in range(2):
        project.start_cluster().wait_for_line("running")
    project.run(HOLD.format(gate=gate.path))
    project.wait_for_starts(1)

    lapsed = time.monotonic() + 2.5  # time is what this is about
    project.wait_until(lambda: time.monotonic() > lapsed, what="the end of two leases")
    gate.open()

    (task,) = project.wait_for_tasks(1)
    project.wait_until(lambda: sizes() == [0, 0], what="an empty queue")
    assert (task["success"], project.starts()) == (1, {"held": 1})


def test_failed_attempts_are_no_lapses(
    project: Project, configure: Configure, sizes: Sizes
) -> None:
    configure(max_attempts=4, max_lapses=2, backoff=0)
    project.run(FAIL)

    project.start_cluster()
    project.wait_for_starts(4)

    project.wait_until(lambda: sizes() == [0, 0], what="an empty queue")
    (task,) = project.tasks()
    assert (task["success"], task["attempt_count"]) == (0, 4)
    assert project.starts() == {"failure": 4}


def test_one_site_has_a_queue_on_sqs_and_another_in_its_database(
    project: Project, server: sqs_server.Sqs, name: str
) -> None:
    other = {"sqs": server.settings(), "orm": None}
    project.configure({"name": "project", "orm": "default", "ALT_CLUSTERS": {name: other}})
    project.run(ENQUEUE.format(count=3))
    project.run(ENQUEUE_FAR.format(name=name))
    sizes = project.run(SIZES_OF_BOTH.format(names=["project", name]))

    project.start_cluster()
    project.start_cluster("-n", name)
    project.wait_for_tasks(5)

    assert sizes == [["ORM", 3], ["Sqs", 2]]
    assert project.starts() == {f"task-{n}": 1 for n in range(3)} | {"far-0": 1, "far-1": 1}
