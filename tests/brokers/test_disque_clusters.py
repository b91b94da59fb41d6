"""Clusters on Disque: nothing is lost or done twice, and a node may go away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.disque_server import DisqueStub
from tests.harness import Project

ENQUEUE = """
from django_q.tasks import async_task
for number in range({count}):
    async_task("tests.jobs.ok", f"task-{{number}}")
"""

HOLD = "from django_q.tasks import async_task\nasync_task('tests.jobs.gate', 'held', {gate!r})"

LONG = "from django_q.tasks import async_task\nasync_task('tests.jobs.sleep', 'long', 2.5)"

FAIL = "from django_q.tasks import async_task\nasync_task('tests.jobs.fail', 'failure')"

SIZES = """
from django_q.brokers import get_broker
broker = get_broker()
[broker.queue_size(), broker.lock_size()]
"""

Configure = Callable[..., None]


@pytest.fixture(scope="module")
def nodes() -> Iterator[DisqueStub]:
    """Yield three nodes."""
    nodes = DisqueStub(nodes=3, password="let me in")
    nodes.start()
    yield nodes
    nodes.close()


@pytest.fixture
def configure(project: Project, nodes: DisqueStub) -> Configure:
    """Return what writes the settings of a project on Disque, with a queue of the test's own."""
    name = f"cluster-{uuid4().hex[:8]}"

    def configure(**options: Any) -> None:
        own = {"name": name, "orm": None} | nodes.settings(disque_nodes=nodes.addresses[1:])
        project.configure(own | options)

    configure()
    return configure


def wait_until_settled(project: Project) -> None:
    project.wait_until(lambda: project.run(SIZES) == [0, 0], what="an empty queue")


def test_two_clusters_share_the_work_and_do_each_task_once_though_a_node_goes(
    project: Project, configure: Configure, nodes: DisqueStub
) -> None:
    configure(save_limit=0, enqueue_retries=3)
    for cluster in [project.start_cluster() for _ in range(2)]:
        cluster.wait_for_line("running")

    project.run(ENQUEUE.format(count=100))
    nodes.run_command("DEBUG", "DOWN", nodes.ports[1])
    project.run(ENQUEUE.format(count=200).replace("range(", "range(100, "))
    tasks = project.wait_for_tasks(200)

    wait_until_settled(project)
    nodes.run_command("DEBUG", "UP", nodes.ports[1])
    assert {task["success"] for task in tasks} == {1}
    assert set(project.starts()) == {f"task-{number}" for number in range(200)}


def test_the_work_of_a_killed_cluster_comes_back_after_retry(
    project: Project, configure: Configure, nodes: DisqueStub
) -> None:
    configure(retry=60, workers=1)
    gate = project.gate()
    project.run(HOLD.format(gate=gate.path))
    killed = project.start_cluster()
    project.wait_for_starts(1)

    killed.kill(group=True)
    killed.wait()
    gate.open()
    nodes.advance(61)
    project.start_cluster()

    (task,) = project.wait_for_tasks(1)
    wait_until_settled(project)
    assert task["success"] == 1
    assert project.starts() == {"held": 2}


def test_a_task_longer_than_retry_runs_once(
    project: Project, configure: Configure, nodes: DisqueStub
) -> None:
    configure(retry=1)
    clusters = [project.start_cluster() for _ in range(2)]
    for cluster in clusters:
        cluster.wait_for_line("running")

    project.run(LONG)

    (task,) = project.wait_for_tasks(1)
    wait_until_settled(project)
    assert task["success"] == 1
    assert project.starts() == {"long": 1}


def test_a_failed_task_is_tried_max_attempts_times(project: Project, configure: Configure) -> None:
    configure(max_attempts=3, backoff=0.05)
    project.run(FAIL)

    project.start_cluster()
    project.wait_for_starts(3)

    wait_until_settled(project)
    (task,) = project.tasks()
    assert (task["success"], task["attempt_count"]) == (0, 3)


def test_a_cluster_whose_password_is_refused_gives_up_at_once(
    project: Project, configure: Configure
) -> None:
    configure(disque_auth="wr0ng", connect_timeout=600)

    cluster = project.start_cluster()

    assert cluster.wait() == 1
    [line] = [line for line in cluster.log.splitlines() if "CRITICAL" in line]
    assert "refuses the password" in line
    assert "wr0ng" not in cluster.log
