"""What dies again and again is replaced slowly, and keeps nobody else from being replaced."""

import os
import signal

from django_q.cluster.board import is_running
from django_q.cluster.restraint import DEATHS_IN_A_ROW, Restraint
from tests.harness import Project


def test_deaths_in_a_row_make_a_pause_that_grows() -> None:
    restraint = Restraint()

    for _ in range(DEATHS_IN_A_ROW - 1):
        restraint.count_death()
    assert restraint.seconds_left <= 0

    restraint.count_death()
    first = restraint.seconds_left
    restraint.count_death()
    assert 0 < first < restraint.seconds_left


def test_a_monitor_is_replaced_at_once_whatever_happens_to_workers(project: Project) -> None:
    project.configure({"workers": 1, "max_worker_deaths": 9, "retry": 60, "backoff": 0})
    project.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.exit_process', i) for i in range(8)] and None"
    )
    cluster = project.start_cluster()
    project.wait_for_starts(6)
    mark = cluster.mark()

    os.kill(cluster.pid_of("monitoring at"), signal.SIGKILL)

    cluster.wait_for_line("monitoring at", timeout=3, since=mark)
    assert cluster.stop() == 0


def test_a_dead_process_does_not_run_though_its_parent_has_not_noticed() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert not is_running(pid)
