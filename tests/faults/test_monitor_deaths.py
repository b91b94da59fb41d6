"""A monitor may die with hooks and results in its hands."""

import os
import signal

from tests.harness import Project


def test_a_hook_that_ran_when_the_monitor_was_killed_runs_again(project: Project) -> None:
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.ok', 1, hook='tests.jobs.slow_hook')"
    )
    cluster = project.start_cluster()
    project.wait_until(lambda: hook_events(project, "hook"), what="the hook's start")

    os.kill(cluster.pid_of("monitoring at"), signal.SIGKILL)

    project.wait_until(lambda: hook_events(project, "hook-end"), what="the hook's end")
    project.wait_until(lambda: project.queue.is_empty, what="its claim")
    assert project.starts() == {"1": 1}
    assert cluster.stop() == 0


def hook_events(project: Project, event: str) -> int:
    return sum(note.event == event for note in project.ledger())
