"""However a cluster is told to stop: it does, in time, and nothing is lost or run twice."""

import signal
import time

import pytest

from tests.harness import Project

READY = "ready for work at"


def assert_all_ran_once(project: Project, count: int) -> None:
    """Run what was given back in a second cluster, and count the starts of both."""
    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log
    assert len(project.starts()) == count
    assert set(project.starts().values()) == {1}


@pytest.mark.parametrize("group", [False, True], ids=["main", "group"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_signal_stops_a_busy_cluster_gracefully(
    project: Project, number: int, group: bool
) -> None:
    gate = project.gate()
    project.configure({"retry": 600})
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.ok', f'short-{i}') for i in range(40)]\n"
        f"[async_task('tests.jobs.gate', f'long-{{i}}', {gate.path!r}) for i in range(6)] and None"
    )
    cluster = project.start_cluster()
    project.wait_for_starts(42)

    cluster.send(number, group=group)
    cluster.wait_for_line("stopping cluster processes")
    project.wait_until(
        lambda: project.queue.waiting == 4, what="the release of what has not started"
    )
    gate.open()

    assert cluster.wait(10) == 0, cluster.log
    assert project.queue.counts() == [(0, 0)] * 4
    assert len(project.tasks()) == 42
    assert all(task["success"] for task in project.tasks())


def test_what_a_stop_gave_back_is_run_once_by_the_next_cluster(project: Project) -> None:
    project.configure({"retry": 600})
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.sleep', i, 0.005) for i in range(300)] and None"
    )
    cluster = project.start_cluster()
    project.wait_for_starts(50)

    cluster.terminate(group=True)
    assert cluster.wait(10) == 0, cluster.log

    assert len(project.starts()) < 300
    assert_all_ran_once(project, 300)
    assert len([note for note in project.ledger() if note.event == "end"]) == 300


def test_what_still_runs_near_the_end_of_stop_timeout_is_released_uncounted(
    project: Project,
) -> None:
    gate = project.gate()
    project.configure({"workers": 2, "retry": 600, "stop_timeout": 6})
    project.run(
        "from django_q.tasks import async_task\n"
        f"async_task('tests.jobs.gate', 'long', {gate.path!r}, task_name='the long one')\n"
        "async_task('tests.jobs.stubborn', 'stubborn', 60, task_name='the stubborn one')"
    )
    cluster = project.start_cluster()
    project.wait_for_starts(2)

    began = time.monotonic()
    cluster.terminate()
    assert cluster.wait(10) == 0, cluster.log

    assert 0.9 < time.monotonic() - began < 6
    cluster.wait_for_line("Interrupted the long one 'tests.jobs.gate'")
    cluster.wait_for_line("Interrupted the stubborn one 'tests.jobs.stubborn'")
    assert project.queue.counts() == [(0, 0), (0, 0)]
    assert project.tasks() == []


def test_a_second_signal_stops_now(project: Project) -> None:
    gate = project.gate()
    project.configure({"workers": 1, "retry": 600, "stop_timeout": 600})
    project.run(
        "from django_q.tasks import async_task\n"
        f"async_task('tests.jobs.gate', 'long', {gate.path!r})"
    )
    cluster = project.start_cluster()
    project.wait_for_starts(1)

    cluster.terminate()
    cluster.wait_for_line("stopping cluster processes")
    cluster.terminate(group=True)

    assert cluster.wait(10) == 0, cluster.log
    assert project.queue.counts() == [(0, 0)]
    gate.open()
    second = project.start_cluster("--run-once")
    assert second.wait() == 0, second.log
    assert project.starts() == {"long": 2}


@pytest.mark.parametrize("moment", ["guarding cluster at", READY, "running"])
def test_a_cluster_that_is_just_starting_stops_too(project: Project, moment: str) -> None:
    cluster = project.start_cluster()
    cluster.wait_for_line(moment)

    cluster.terminate(group=True)

    assert cluster.wait(10) == 0, cluster.log
    assert cluster.lines[-1].endswith("has stopped.")


def test_a_stop_waits_for_the_hooks_of_finished_tasks(project: Project) -> None:
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('math.fabs', 1, hook='tests.jobs.slow_hook')"
    )
    cluster = project.start_cluster()
    project.wait_until(project.ledger, what="the hook's start")

    cluster.terminate()
    assert cluster.wait(10) == 0, cluster.log

    assert [note.event for note in project.ledger()] == ["hook", "hook-end"]
    assert project.queue.counts() == []
