"""Clusters on MongoDB: they share the work, and lose none of it when they or the server die."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.harness import Project
from tests.mongo_server import Mongo

ENQUEUE = """
from django_q.tasks import async_task
for number in range({first}, {last}):
    async_task("tests.jobs.ok", f"task-{{number}}")
"""

HOLD = "from django_q.tasks import async_task\nasync_task('tests.jobs.gate', 'held', {gate!r})"

SIZES = """
from django_q.brokers import get_broker
broker = get_broker()
[broker.queue_size(), broker.lock_size()]
"""

Configure = Callable[..., None]


@pytest.fixture(scope="module")
def server() -> Iterator[Mongo]:
    """Yield a server that a test kills, and that has on disk what it says yes to."""
    with contextlib.closing(Mongo("--sync-on-commit")) as server:
        server.start()
        yield server


@pytest.fixture
def configure(project: Project, server: Mongo) -> Configure:
    """Return what writes the settings of a project with a queue of the test's own."""
    name = f"cluster-{uuid4().hex[:8]}"

    def configure(**options: Any) -> None:
        mongo = server.settings(heartbeatFrequencyMS=500)
        project.configure({"name": name, "orm": None, "mongo": mongo} | options)

    configure()
    return configure


def wait_until_settled(project: Project) -> None:
    project.wait_until(lambda: project.run(SIZES) == [0, 0], what="an empty queue")


def test_two_clusters_share_the_work_and_do_each_task_once(
    project: Project, configure: Configure
) -> None:
    configure(save_limit=0)
    for cluster in [project.start_cluster() for _ in range(2)]:
        cluster.wait_for_line("running")

    project.run(ENQUEUE.format(first=0, last=50))
    tasks = project.wait_for_tasks(50)

    wait_until_settled(project)
    assert {task["success"] for task in tasks} == {1}
    assert project.starts() == {f"task-{number}": 1 for number in range(50)}


def test_the_work_of_a_killed_cluster_comes_back_after_retry(
    project: Project, configure: Configure
) -> None:
    configure(retry=1, workers=1)
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


def test_a_server_that_is_killed_under_load_loses_nothing(
    project: Project, configure: Configure, server: Mongo
) -> None:
    # A claim or an acknowledgement whose answer was lost comes back after `retry`.
    configure(save_limit=0, retry=3)
    project.run(ENQUEUE.format(first=0, last=30))
    project.start_cluster()
    project.wait_for_starts(5)

    server.kill()
    server.start()
    project.run(ENQUEUE.format(first=30, last=40))

    tasks = project.wait_for_tasks(40)
    wait_until_settled(project)
    assert {task["success"] for task in tasks} == {1}
    assert project.starts().keys() == {f"task-{number}" for number in range(40)}
