"""Clusters on Redis: what they hold comes back, what fails does not unless it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.harness import Project
from tests.redis_servers import Redis

ENQUEUE = """
from django_q.tasks import async_task
for number in range({count}):
    async_task("tests.jobs.ok", f"task-{{number}}")
"""

FAIL = "from django_q.tasks import async_task\nasync_task('tests.jobs.fail', 'failure', {options})"

HOLD = "from django_q.tasks import async_task\nasync_task('tests.jobs.gate', 'held', {gate!r})"

SIZES = """
from django_q.brokers import get_broker
broker = get_broker()
[broker.queue_size(), broker.lock_size()]
"""

Configure = Callable[..., None]


@pytest.fixture
def configure(project: Project, redis_server: Redis) -> Configure:
    """Return what writes the settings of a project on Redis, with a queue of the test's own."""
    name = f"cluster-{uuid4().hex[:8]}"

    def configure(**options: Any) -> None:
        own = {"name": name, "orm": None, "redis": redis_server.settings()}
        project.configure(own | options)

    configure()
    return configure


def wait_until_settled(project: Project) -> None:
    project.wait_until(lambda: project.run(SIZES) == [0, 0], what="an empty queue")


def test_three_clusters_share_the_work_and_do_each_task_once(
    project: Project, configure: Configure
) -> None:
    configure(save_limit=0)
    clusters = [project.start_cluster() for _ in range(3)]
    for cluster in clusters:
        cluster.wait_for_line("running")

    project.run(ENQUEUE.format(count=300))
    tasks = project.wait_for_tasks(300)

    wait_until_settled(project)
    assert {task["success"] for task in tasks} == {1}
    assert project.starts() == {f"task-{number}": 1 for number in range(300)}


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


def test_without_receipts_the_work_of_a_killed_cluster_is_lost(
    project: Project, configure: Configure
) -> None:
    configure(retry=1, workers=1, redis_receipts=False)
    gate = project.gate()
    project.run(HOLD.format(gate=gate.path))
    killed = project.start_cluster()
    project.wait_for_starts(1)

    killed.kill(group=True)
    killed.wait()

    gate.open()
    assert project.run(SIZES) == [0, 0]


def test_without_receipts_tasks_run_as_ever(project: Project, configure: Configure) -> None:
    configure(redis_receipts=False)
    project.start_cluster()

    project.run(ENQUEUE.format(count=50))

    tasks = project.wait_for_tasks(50)
    assert {task["success"] for task in tasks} == {1}
    assert project.starts() == {f"task-{number}": 1 for number in range(50)}


def test_a_failed_task_is_not_tried_again(project: Project, configure: Configure) -> None:
    configure(retry=1)
    project.run(FAIL.format(options=""))

    project.start_cluster()
    (task,) = project.wait_for_tasks(1)

    wait_until_settled(project)
    assert (task["success"], task["attempt_count"]) == (0, 1)
    assert project.starts() == {"failure": 1}


def test_a_failed_task_is_tried_max_attempts_times(project: Project, configure: Configure) -> None:
    configure(max_attempts=3, backoff=0.05)
    project.run(FAIL.format(options=""))

    project.start_cluster()
    project.wait_for_starts(3)

    wait_until_settled(project)
    (task,) = project.tasks()
    assert (task["success"], task["attempt_count"]) == (0, 3)
    assert project.starts() == {"failure": 3}


def test_a_stop_gives_back_what_has_not_started(project: Project, configure: Configure) -> None:
    configure(workers=1, stop_timeout=30)
    gate = project.gate()
    project.run(HOLD.format(gate=gate.path))
    cluster = project.start_cluster()
    project.wait_for_starts(1)
    project.run(ENQUEUE.format(count=20))

    cluster.terminate()
    cluster.wait_for_line("stopping")
    gate.open()

    assert cluster.wait() == 0
    assert project.run(SIZES) == [20, 0]
    assert project.starts() == {"held": 1}
