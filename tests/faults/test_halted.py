"""A cluster that stood still longer than `retry`: what was taken over is its own no more."""

import os
import signal

from tests.faults.locking import halt
from tests.harness import Project


def test_a_halted_cluster_starts_nothing_that_another_has_taken_over(project: Project) -> None:
    gate = project.gate()
    project.configure({"workers": 1, "retry": 1})
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.ok', f'early-{i}') for i in range(60)]\n"
        f"async_task('tests.jobs.gate', 'running', {gate.path!r})\n"
        "[async_task('tests.jobs.ok', f'late-{i}') for i in range(60)] and None"
    )
    halted = project.start_cluster()
    project.wait_until(lambda: "running" in project.starts(), what="the start of the long task")
    project.wait_for_tasks(60)

    halt(project, halted)
    gate.open()
    other = project.start_cluster()
    project.wait_for_tasks(121)
    halted.send(signal.SIGCONT, group=True)

    assert other.stop() == 0
    assert halted.stop() == 0
    starts = project.starts()
    assert starts.pop("running") == 2
    assert len(starts) == 120
    assert set(starts.values()) == {1}
    assert all(task["success"] for task in project.tasks())
    assert len(project.tasks()) == 121


def test_a_pusher_that_was_halted_hands_out_nothing_that_has_lapsed(project: Project) -> None:
    gate = project.gate()
    project.configure({"workers": 1, "retry": 1})
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.ok', f'early-{i}') for i in range(60)]\n"
        f"async_task('tests.jobs.gate', 'running', {gate.path!r})\n"
        "[async_task('tests.jobs.ok', f'late-{i}') for i in range(60)] and None"
    )
    first = project.start_cluster()
    pusher = first.pid_of("pushing tasks at")
    project.wait_until(lambda: "running" in project.starts(), what="the start of the long task")

    os.kill(pusher, signal.SIGSTOP)
    other = project.start_cluster()
    project.wait_until(
        lambda: project.starts()["running"] == 2 or len(project.starts()) == 121,
        what="the other cluster's taking over",
    )
    gate.open()
    project.wait_for_tasks(121)
    os.kill(pusher, signal.SIGCONT)

    assert other.stop() == 0
    assert first.stop() == 0
    late = {label: n for label, n in project.starts().items() if label != "running"}
    assert len(late) == 120
    assert set(late.values()) == {1}
