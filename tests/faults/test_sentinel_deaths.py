"""A sentinel may die or be halted at any time; main replaces it, and stops all the same."""

import os
import signal
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from django_q.cluster.board import Board
from django_q.cluster.sentinel import ROLES, WORKER, Sentinel
from tests.harness import ClusterProcess, Project

without_database = pytest.mark.parametrize("database_name", ["sqlite"], indirect=True)
"""What happens between main and the sentinel is the same on all of them."""

SUBREAPER = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER outlives exec
os.execv(sys.executable, [sys.executable, "manage.py", "qcluster"])
"""


def kill_sentinel(cluster: ClusterProcess, since: int = 0) -> None:
    """Kill the sentinel and wait for the cluster of the next one."""
    cluster.wait_for_line("running")
    cluster.wait_for_line("pushing tasks at", since=since)
    mark = cluster.mark()
    os.kill(cluster.pid_of("guarding cluster at", since=since), signal.SIGKILL)
    cluster.wait_for_line("pushing tasks at", since=mark)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_CHILD_SUBREAPER is Linux's")
@without_database
def test_main_replaces_the_sentinel_where_it_is_the_init_of_its_container(project: Project) -> None:
    (project.path / "as_init.py").write_text(SUBREAPER)
    cluster = ClusterProcess([sys.executable, "as_init.py"], project, project.env)
    project.clusters.append(cluster)

    kill_sentinel(cluster)

    assert cluster.stop() == 0


@without_database
def test_a_new_sentinel_costs_main_no_descriptors(project: Project) -> None:
    cluster = project.start_cluster()
    cluster.wait_for_line("running")
    before = len(os.listdir(f"/proc/{cluster.pid}/fd"))

    kill_sentinel(cluster)

    assert len(os.listdir(f"/proc/{cluster.pid}/fd")) <= before
    assert cluster.stop() == 0


def test_a_run_once_whose_sentinel_dies_still_ends(project: Project) -> None:
    gate = project.gate()
    project.configure({"retry": 1})
    project.run(
        f"from django_q.tasks import async_task\nasync_task('tests.jobs.gate', 1, {gate.path!r})"
    )
    cluster = project.start_cluster("--run-once")
    project.wait_for_starts(1)

    kill_sentinel(cluster)
    gate.open()

    assert cluster.wait() == 0


@without_database
def test_a_halted_sentinel_does_not_keep_the_cluster_from_stopping(project: Project) -> None:
    project.configure({"stop_timeout": 1})
    cluster = project.start_cluster()
    cluster.wait_for_line("running")

    os.kill(cluster.pid_of("guarding cluster at"), signal.SIGSTOP)

    assert cluster.stop() == 0


def test_a_machine_that_cannot_fork_costs_neither_the_sentinel_nor_a_lane(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = Board(1)
    settings = SimpleNamespace(workers=1, cpu_affinity=0, recycle=500)
    crew: Any = SimpleNamespace(settings=settings, board=board)
    sentinel = Sentinel("Process-1", crew, None)

    def refuse(*_: Any) -> Any:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(sentinel, "fork", refuse)
    sentinel.helpers = dict.fromkeys(ROLES, Any)  # type: ignore[arg-type]

    sentinel.revive()

    assert board.live_lanes == []
    assert sentinel.restraints[WORKER].seconds_left > 0
    board.remove()
