"""Clusters on IronMQ: each task once, also the long ones, and again what a dead cluster held."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import cycle
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest

from tests.chaos import SETTINGS, Chaos, enqueue, is_done, verdict
from tests.harness import Project
from tests.ironmq_server import IronMQ

ENQUEUE = """
from django_q.tasks import async_task
for number in range({count}):
    async_task("tests.jobs.ok", f"task-{{number}}")
"""

FAIL = "from django_q.tasks import async_task\nasync_task('tests.jobs.fail', 'failure')"

HOLD = "from django_q.tasks import async_task\nasync_task('tests.jobs.gate', 'held', {gate!r})"

TASKS = int(os.environ.get("DJANGO_Q_TEST_TASKS", "100"))
"""How many tasks go through a cluster of which somebody dies every thirtieth or so."""

LABELS = [f"task-{number}" for number in range(TASKS)]
ROLES = cycle(("pusher", "worker", "cluster", "monitor", "main", "sentinel"))

Configure = Callable[..., str]


@pytest.fixture
def configure(project: Project, ironmq: IronMQ) -> Configure:
    """Return what writes the settings of a project on IronMQ, and returns the queue's name."""
    name = f"cluster-{uuid4().hex[:8]}"

    def configure(**options: Any) -> str:
        own = {"name": name, "orm": None, "iron_mq": ironmq.settings()}
        project.configure(own | options)
        return name

    configure()
    return configure


def messages_of(ironmq: IronMQ, name: str) -> int:
    """Count what waits: after a day, what anybody ever held."""
    from iron_mq import IronMQ as Library

    ironmq.advance(86_400)
    return len(Library(**ironmq.settings()).queue(name).peek(100)["messages"])


def test_two_clusters_share_the_work_and_do_each_task_once(
    project: Project, configure: Configure, ironmq: IronMQ
) -> None:
    name = configure(save_limit=0)
    clusters = [project.start_cluster() for _ in range(2)]
    for cluster in clusters:
        cluster.wait_for_line("running")

    project.run(ENQUEUE.format(count=60))
    tasks = project.wait_for_tasks(60)

    assert [cluster.stop() for cluster in clusters] == [0, 0]
    assert messages_of(ironmq, name) == 0
    assert {task["success"] for task in tasks} == {1}
    assert project.starts() == {f"task-{number}": 1 for number in range(60)}


def test_a_task_longer_than_its_reservation_runs_once(
    project: Project, configure: Configure, ironmq: IronMQ
) -> None:
    name = configure(retry=3, timeout=None, workers=1)
    gate = project.gate()
    project.run(HOLD.format(gate=gate.path))
    clusters = [project.start_cluster() for _ in range(2)]
    project.wait_for_starts(1)

    def touches() -> int:
        paths = [each["path"] for each in ironmq.requests()]
        return sum(f"/{name}/" in path and path.endswith("/touch") for path in paths)

    for _ in range(3):
        ironmq.advance(20)
        before = touches()
        project.wait_until(lambda: touches() > before, what="a renewal")  # noqa: B023
    gate.open()
    project.wait_for_tasks(1)

    assert [cluster.stop() for cluster in clusters] == [0, 0]
    assert messages_of(ironmq, name) == 0
    assert project.starts() == {"held": 1}


def test_a_failed_task_is_tried_again_after_retry(
    project: Project, configure: Configure, ironmq: IronMQ
) -> None:
    configure(retry=3600)
    project.run(FAIL)

    cluster = project.start_cluster()
    project.wait_for_starts(1)
    project.wait_until(
        lambda: any(each["path"].endswith("/release") for each in ironmq.requests()),
        what="the release of what failed",
    )
    ironmq.advance(3601)
    project.wait_for_starts(2)

    assert cluster.stop() == 0


def test_failed_attempts_are_no_lapses(project: Project, configure: Configure) -> None:
    configure(max_attempts=5, max_lapses=2, backoff=0)
    project.run(FAIL)

    cluster = project.start_cluster()
    project.wait_for_starts(5)

    assert cluster.stop() == 0
    (task,) = project.tasks()
    assert (task["success"], task["attempt_count"]) == (0, 5)
    assert project.starts() == {"failure": 5}


def test_a_stop_gives_back_what_has_not_started(
    project: Project, configure: Configure, ironmq: IronMQ
) -> None:
    name = configure(workers=1, stop_timeout=30)
    gate = project.gate()
    project.run(HOLD.format(gate=gate.path))
    cluster = project.start_cluster()
    project.wait_for_starts(1)
    project.run(ENQUEUE.format(count=5))

    cluster.terminate()
    cluster.wait_for_line("stopping")
    gate.open()

    assert cluster.wait() == 0
    assert messages_of(ironmq, name) == 5
    assert project.starts() == {"held": 1}


def test_a_cluster_whose_credentials_are_refused_gives_up_at_once(
    project: Project, configure: Configure, ironmq: IronMQ
) -> None:
    configure(iron_mq=ironmq.settings(token="wr0ng"), connect_timeout=600)

    cluster = project.start_cluster()

    assert cluster.wait() == 1
    [line] = [line for line in cluster.log.splitlines() if "CRITICAL" in line]
    assert "cannot be used: IronMQ at 127.0.0.1" in line
    assert "refuses the credentials: 401 Unauthorized" in line
    assert "wr0ng" not in cluster.log


@pytest.fixture
def fast_clock(ironmq: IronMQ) -> Iterator[None]:
    """Let time pass 16 times as fast, which is slow enough for the renewals of those who live."""
    is_over = Event()

    def advance() -> None:
        while not is_over.wait(0.5):
            ironmq.advance(7.5)

    thread = Thread(target=advance)
    thread.start()
    yield
    is_over.set()
    thread.join()


@pytest.mark.usefixtures("fast_clock")
def test_no_death_loses_a_task(project: Project, configure: Configure) -> None:
    configure(**SETTINGS, workers=2)
    enqueue(project, LABELS)
    chaos = Chaos(project, seed=0)
    chaos.start()

    for starts in range(15, TASKS // 2, 15):
        project.wait_for_starts(starts, 120)
        chaos.kill_one(next(ROLES))
    project.wait_until(lambda: is_done(project, LABELS), 120, "the success of all tasks")
    chaos.stop()

    found = verdict(project, LABELS, chaos.deaths)
    assert (found.lost, found.orphans) == ([], []), chaos.deaths
