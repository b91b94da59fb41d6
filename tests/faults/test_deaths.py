"""What each death costs: nothing but the attempt that it hit. Real processes, real signals."""

import os
import signal

import pytest

from tests.chaos import HELPERS, members
from tests.harness import ClusterProcess, Project, wait_gone

SOME = 40


def enqueue(project: Project, count: int = SOME, func: str = "ok", *args: object) -> None:
    project.run(
        "from django_q.tasks import async_task\n"
        f"[async_task('tests.jobs.{func}', i, *{args!r}) for i in range({count})] and None"
    )


def kill(project: Project, role: str) -> None:
    """Kill a process of this role, and wait for the one that replaces it."""
    known = project.wait_until(lambda: members(project).get(role), what=f"a {role}")
    os.kill(known[0], signal.SIGKILL)
    project.wait_until(lambda: set(members(project).get(role, [])) - set(known), what="another")


def assert_each_ran_once(project: Project, count: int = SOME) -> None:
    project.wait_for_tasks(count)
    starts = project.starts()
    assert len(starts) == count
    assert set(starts.values()) == {1}
    assert all(task["success"] for task in project.tasks())


@pytest.mark.parametrize("role", ["pusher", "monitor", "scheduler", "worker"])
def test_an_idle_process_that_is_killed_is_replaced(project: Project, role: str) -> None:
    cluster = project.start_cluster()

    kill(project, role)
    enqueue(project)

    assert_each_ran_once(project)
    assert cluster.stop() == 0


@pytest.mark.parametrize("role", HELPERS)
def test_a_helper_killed_while_a_task_runs_loses_and_repeats_nothing(
    project: Project, role: str
) -> None:
    gate = project.gate()
    project.configure({"retry": 4})
    enqueue(project, 4, "gate", gate.path)
    cluster = project.start_cluster()
    project.wait_for_starts(2)

    kill(project, role)
    gate.open()

    assert_each_ran_once(project, 4)
    assert cluster.stop() == 0


def test_the_task_of_a_killed_worker_is_a_failed_attempt_and_runs_again(project: Project) -> None:
    gate = project.gate()
    project.configure({"workers": 1, "max_attempts": 3, "backoff": 0})
    enqueue(project, 1, "gate", gate.path)
    cluster = project.start_cluster()
    project.wait_for_starts(1)

    os.kill(cluster.pid_of("ready for work at"), signal.SIGKILL)
    cluster.wait_for_line("Failed .* SIGKILL")
    project.wait_for_starts(2)
    gate.open()

    project.wait_until(lambda: project.tasks()[0]["success"], what="the second attempt's success")
    [task] = project.tasks()
    assert (task["attempt_count"], task["worker_deaths"]) == (2, 1)
    assert cluster.stop() == 0


def test_what_waits_behind_a_killed_worker_goes_to_the_others_at_once(project: Project) -> None:
    project.configure({"workers": 2, "retry": 600, "max_attempts": 2, "backoff": 0})
    enqueue(project, 200)
    cluster = project.start_cluster()
    project.wait_for_starts(20)

    os.kill(cluster.pid_of("ready for work at"), signal.SIGKILL)

    project.wait_until(lambda: len(project.starts()) == 200, what="all starts")
    assert cluster.stop() == 0


def test_a_killed_sentinel_takes_its_children_with_it_and_is_replaced(project: Project) -> None:
    cluster = project.start_cluster()
    worker = cluster.pid_of("ready for work at")
    cluster.wait_for_line("running")
    mark = cluster.mark()

    os.kill(cluster.pid_of("guarding cluster at"), signal.SIGKILL)
    cluster.pid_of("guarding cluster at", since=mark)
    enqueue(project)

    assert_each_ran_once(project)
    assert wait_gone([worker], 5) == []
    assert cluster.stop() == 0


def test_what_ran_when_the_sentinel_was_killed_is_presented_again_after_retry(
    project: Project,
) -> None:
    gate = project.gate()
    project.configure({"workers": 1, "retry": 2})
    enqueue(project, 1, "gate", gate.path)
    cluster = project.start_cluster()
    project.wait_for_starts(1)

    os.kill(cluster.pid_of("guarding cluster at"), signal.SIGKILL)
    project.wait_for_starts(2)
    gate.open()

    [task] = project.wait_for_tasks(1)
    assert task["success"]
    assert cluster.stop() == 0


def test_a_cluster_whose_main_process_is_killed_finishes_what_runs_and_leaves(
    project: Project,
) -> None:
    gate = project.gate()
    enqueue(project, 1, "gate", gate.path)
    cluster = project.start_cluster()
    project.wait_for_starts(1)

    cluster.kill()
    cluster.wait_for_line("main process is gone")
    gate.open()

    [task] = project.wait_for_tasks(1)
    assert task["success"]
    project.wait_until(lambda: not cluster.descendants(), what="everybody to leave")


def test_a_main_process_that_is_started_again_at_once_works_beside_what_still_stops(
    project: Project,
) -> None:
    gate = project.gate()
    project.configure({"workers": 1, "retry": 2})
    enqueue(project, 1, "gate", gate.path)
    first = project.start_cluster()
    project.wait_for_starts(1)

    first.kill()
    second = project.start_cluster()
    enqueue(project)
    project.wait_for_tasks(SOME)
    assert first.descendants()
    gate.open()

    project.wait_for_tasks(SOME + 1)
    project.wait_until(lambda: not first.descendants(), what="everybody to leave")
    assert sorted(project.starts().values()) == [1] * (SOME - 1) + [2]
    assert second.stop() == 0


def test_the_work_of_a_cluster_that_was_killed_as_a_whole_returns_after_retry(
    project: Project,
) -> None:
    gate = project.gate()
    project.configure({"retry": 2})
    enqueue(project, 6, "gate", gate.path)
    first = project.start_cluster()
    project.wait_for_starts(2)

    kill_all(first)
    gate.open()
    second = project.start_cluster()

    project.wait_for_tasks(6)
    assert len(project.starts()) == 6
    assert second.stop() == 0


def kill_all(cluster: ClusterProcess) -> None:
    """SIGKILL every process of the cluster, the main one first, as a machine's loss would."""
    cluster.kill(group=True)
    cluster.wait()
