"""How often a failed task is tried again, and when."""

from typing import Any

import pytest

from tests.harness import Project

FAIL = "from django_q.tasks import async_task; async_task('tests.jobs.fail', 'x'{})"


def queued(project: Project) -> list[tuple[Any, ...]]:
    """Return lapses and attempts of what is in the queue."""
    return project.query("SELECT lapses, attempts FROM django_q_ormq")


@pytest.mark.parametrize("backoff", [0.05, [0.01, 0.1]], ids=["number", "list"])
def test_a_failed_task_is_tried_max_attempts_times_at_the_pace_of_backoff(
    project: Project, backoff: Any
) -> None:
    project.configure({"workers": 1, "max_attempts": 3, "backoff": backoff})
    project.run(FAIL.format(""))

    cluster = project.start_cluster()
    project.wait_until(lambda: not queued(project), what="an empty queue")
    assert cluster.stop() == 0

    assert project.starts() == {"x": 3}
    [task] = project.tasks()
    assert (task["success"], task["attempt_count"]) == (0, 3)


def test_a_later_success_replaces_the_failure_and_counts_all_attempts(project: Project) -> None:
    project.configure({"workers": 1, "max_attempts": 5, "backoff": 0})
    project.run(
        "from django_q.tasks import async_task; async_task('tests.jobs.fail_times', 'x', 2)"
    )

    cluster = project.start_cluster()
    project.wait_until(lambda: not queued(project), what="an empty queue")
    assert cluster.stop() == 0

    assert project.starts() == {"x": 3}
    [task] = project.tasks()
    assert (task["success"], task["attempt_count"]) == (1, 3)


def test_a_failed_task_is_presented_again_after_retry_unless_it_is_acknowledged(
    project: Project,
) -> None:
    project.configure({"workers": 2, "retry": 1})
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.fail_times', 'again', 2)\n"
        "async_task('tests.jobs.fail', 'acknowledged', ack_failure=True)"
    )

    cluster = project.start_cluster()
    project.wait_until(lambda: not queued(project), what="an empty queue")
    assert cluster.stop() == 0

    assert project.starts() == {"again": 3, "acknowledged": 1}


def test_ack_failures_of_the_cluster_ends_every_failed_task(project: Project) -> None:
    project.configure({"ack_failures": True, "retry": 1, "max_attempts": 5})
    project.run(FAIL.format(""))

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    assert project.starts() == {"x": 1}
    assert queued(project) == []


def test_neither_running_nor_waiting_in_the_cluster_uses_up_retry(project: Project) -> None:
    project.configure({"workers": 1, "retry": 1})
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.ok', f'ahead {i}'.replace(' ', '-')) for i in range(20)]\n"
        "async_task('tests.jobs.sleep', 'long', 3)\n"
        "[async_task('tests.jobs.ok', i) for i in range(20)]"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    assert len(project.starts()) == 41
    assert set(project.starts().values()) == {1}
    assert {task["attempt_count"] for task in project.tasks()} == {1}
