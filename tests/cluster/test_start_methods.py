"""Forked, spawned or from a fork server: what a cluster promises does not depend on it."""

import os
import pickle
import signal
import subprocess
import sys
from multiprocessing.context import set_spawning_popen
from multiprocessing.reduction import ForkingPickler
from types import SimpleNamespace
from typing import Any

import pytest

from django_q import conf
from django_q.cluster.birth import Parcel, chosen_method, require_settings_module
from django_q.cluster.board import Board, FolderVanished
from django_q.errors import ConfigurationError
from django_q.rules import problem
from tests.harness import ClusterProcess, Project, wait_gone

ANEW = ["spawn", "forkserver"]
"""How processes are started that inherit nothing; all other tests fork."""

PROGRAM = """\
import signal
import subprocess
import sys

CODE = (
    "import signal; numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP); "
    "print([signal.getsignal(n).__name__ if callable(signal.getsignal(n)) else "
    "signal.getsignal(n).name for n in numbers], signal.pthread_sigmask(signal.SIG_BLOCK, []))"
)


def handlers():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    return done.stdout.strip()
"""

UNGUARDED = """\
import django

django.setup()

from django_q.cluster import Cluster
from django_q.conf import configure_logging

configure_logging()
cluster = Cluster()
cluster.start()
raise SystemExit(cluster.join())
"""


@pytest.fixture(params=ANEW)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(project: Project, method: str) -> Project:
    # Each process costs seconds: two workers only where a test needs them.
    project.configure({"start_method": method, "workers": 1})
    return project


def enqueue(project: Project, count: int, func: str = "ok", *args: object) -> None:
    project.run(
        "from django_q.tasks import async_task\n"
        f"[async_task('tests.jobs.{func}', i, *{args!r}) for i in range({count})] and None"
    )


def assert_each_ran_once(project: Project, count: int) -> None:
    project.wait_for_tasks(count)
    assert len(project.starts()) == project.starts().total() == count
    assert all(task["success"] for task in project.tasks())


def assert_nothing_outlives(project: Project, cluster: ClusterProcess) -> None:
    """Neither a process of the cluster nor a fork server or tracker of multiprocessing."""
    project.wait_until(lambda: not cluster.descendants(), what="everybody to leave")


@pytest.mark.starts_anew
def test_tasks_are_run_and_the_cluster_stops(project: Project) -> None:
    enqueue(project, 20)

    cluster = project.start_cluster()

    assert_each_ran_once(project, 20)
    assert cluster.stop() == 0
    assert_nothing_outlives(project, cluster)


def test_the_task_of_a_killed_worker_is_recorded_and_the_worker_replaced(
    project: Project, method: str
) -> None:
    gate = project.gate()
    project.configure({"start_method": method, "workers": 1, "ack_failures": True})
    enqueue(project, 1, "gate", gate.path)
    cluster = project.start_cluster()
    project.wait_for_starts(1)

    os.kill(cluster.pid_of("ready for work at"), signal.SIGKILL)

    cluster.wait_for_line("Failed .* SIGKILL")
    enqueue(project, 1, "add", 1)
    [failed, _] = project.wait_for_tasks(2)
    assert (failed["success"], failed["worker_deaths"]) == (0, 1)
    assert cluster.stop() == 0


def test_a_killed_sentinel_takes_its_children_with_it_and_work_goes_on(
    project: Project, method: str
) -> None:
    gate = project.gate()
    project.configure({"start_method": method, "retry": 2})
    enqueue(project, 2, "gate", gate.path)
    cluster = project.start_cluster()
    project.wait_for_starts(2)
    others = set(cluster.descendants())
    mark = cluster.mark()

    sentinel = cluster.pid_of("guarding cluster at")
    os.kill(sentinel, signal.SIGKILL)
    cluster.pid_of("ready for work at", since=mark)
    workers = {note.pid for note in project.ledger()}
    gate.open()

    assert workers <= others
    assert wait_gone(workers, 5) == []
    assert project.wait_for_tasks(2)
    assert cluster.stop() == 0
    assert_nothing_outlives(project, cluster)


def test_a_signal_to_the_group_under_load_loses_nothing_and_repeats_nothing(
    project: Project, method: str
) -> None:
    project.configure({"start_method": method, "retry": 600, "save_limit": 0})
    enqueue(project, 300, "sleep", 0.005)
    cluster = project.start_cluster()
    project.wait_for_starts(50)

    cluster.terminate(group=True)
    assert cluster.wait() == 0, cluster.log
    assert len(project.starts()) < 300
    second = project.start_cluster("--run-once")
    assert second.wait() == 0, second.log

    assert "died" not in cluster.log
    assert_each_ran_once(project, 300)


def test_a_signal_to_the_group_of_a_cluster_that_starts_stops_it(project: Project) -> None:
    cluster = project.start_cluster()
    cluster.wait_for_line("guarding cluster at")

    cluster.send(signal.SIGHUP, group=True)

    assert cluster.wait() == 0, cluster.log
    assert "died" not in cluster.log
    assert_nothing_outlives(project, cluster)


def test_nothing_outlives_a_main_process_that_was_killed(project: Project) -> None:
    gate = project.gate()
    enqueue(project, 1, "gate", gate.path)
    cluster = project.start_cluster()
    project.wait_for_starts(1)

    cluster.kill()
    cluster.wait_for_line("main process is gone")
    gate.open()

    assert_each_ran_once(project, 1)
    assert_nothing_outlives(project, cluster)


def test_an_overdue_worker_is_killed_and_its_task_has_failed(project: Project, method: str) -> None:
    project.configure({"start_method": method, "workers": 1, "timeout": 0.5, "ack_failures": True})
    enqueue(project, 1, "stubborn", 60)

    cluster = project.start_cluster()

    cluster.wait_for_line("exceeded its timeout and is killed")
    [task] = project.wait_for_tasks(1)
    assert not task["success"]
    assert cluster.stop() == 0


def test_a_program_that_a_task_starts_has_the_usual_signals(project: Project) -> None:
    (project.path / "programs.py").write_text(PROGRAM)
    project.run("from django_q.tasks import async_task; async_task('programs.handlers')")

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    [told] = project.run("from django_q.models import Task; [t.result for t in Task.objects.all()]")
    assert told == "['SIG_DFL', 'default_int_handler', 'SIG_DFL'] set()"


def test_large_packages_and_results_travel(project: Project) -> None:
    project.run(
        "from django_q.tasks import async_task\n"
        "async_task('tests.jobs.ok', 'large', b'x' * 300_000)\n"
        "async_task('tests.jobs.big', 'result', 300_000)"
    )

    cluster = project.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    sizes = project.run(
        "from django_q.models import Task; [len(t.result) for t in Task.objects.all()]"
    )
    assert sizes == [300_000] * 2


@pytest.mark.starts_anew
def test_a_script_that_guards_nothing_starts_one_cluster(project: Project) -> None:
    (project.path / "serve.py").write_text(UNGUARDED)
    cluster = ClusterProcess([sys.executable, "serve.py"], project, project.env)
    project.clusters.append(cluster)
    enqueue(project, 2)

    assert_each_ran_once(project, 2)
    assert cluster.stop() == 0
    assert sum(" starting." in line for line in cluster.lines) == 1


@pytest.mark.parametrize("method", ["forkserver"], indirect=True)
def test_a_fork_server_that_dies_takes_no_work_with_it(project: Project, method: str) -> None:
    gate = project.gate()
    project.configure({"start_method": method, "retry": 2, "max_worker_deaths": 9})
    enqueue(project, 2, "gate", gate.path)
    cluster = project.start_cluster()
    project.wait_for_starts(2)
    worker = project.ledger()[0].pid
    mark = cluster.mark()

    os.kill(parent_of(worker), signal.SIGKILL)
    cluster.pid_of("ready for work at", since=mark)
    gate.open()

    project.wait_until(
        lambda: [task["success"] for task in project.tasks()] == [1, 1], what="both successes"
    )
    assert cluster.stop() == 0
    assert_nothing_outlives(project, cluster)


def test_a_cluster_whose_folder_was_cleared_away_gets_another(
    project: Project, method: str
) -> None:
    cluster = project.start_cluster(TMPDIR=str(project.path))
    worker = cluster.pid_of("ready for work at")
    cluster.wait_for_line("pushing tasks at")
    cluster.wait_for_line("monitoring at")
    [folder] = project.path.glob("django-q-bodies-*")
    mark = cluster.mark()
    for path in folder.iterdir():
        path.unlink()

    os.kill(worker, signal.SIGKILL)

    cluster.wait_for_line("Starting a new sentinel", since=mark)
    enqueue(project, 2)
    assert_each_ran_once(project, 2)
    assert cluster.stop() == 0


# Choosing


def test_a_start_method_that_python_does_not_know_is_refused() -> None:
    assert problem("start_method", "thread") == (
        "Q_CLUSTER[\"start_method\"] must be 'fork', 'spawn', 'forkserver' or None, not 'thread'."
    )


def test_a_start_method_that_the_platform_does_not_have_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    settings.Q_CLUSTER = {"start_method": "fork"}

    with pytest.raises(ConfigurationError, match="'fork', which this platform does not have"):
        chosen_method()


@pytest.mark.parametrize("method", ANEW)
def test_settings_that_no_other_process_can_find_are_refused(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")

    with pytest.raises(ConfigurationError, match="needs DJANGO_SETTINGS_MODULE"):
        require_settings_module(method)
    require_settings_module("fork")


def test_what_cannot_be_pickled_is_named(settings: Any) -> None:
    settings.Q_CLUSTER = {"redis": {"credential_provider": lambda: "secret"}}

    with pytest.raises(ConfigurationError, match=r"lambda.*start_method"):
        pickle.dumps(Parcel(print, conf.get_settings()))


def test_a_board_is_not_sent_where_it_could_not_be_opened() -> None:
    board = Board(1, "spawn")
    board.remove()

    with pytest.raises(FolderVanished):
        pickle.dumps(board)


def test_a_process_of_a_large_cluster_is_handed_one_descriptor() -> None:
    handed: list[int] = []
    popen = SimpleNamespace(duplicate_for_child=handed.append, DupFd=str)
    board = Board(64, "forkserver")

    set_spawning_popen(popen)
    try:
        ForkingPickler.dumps(board)
    finally:
        set_spawning_popen(None)
        board.remove()

    assert len(handed) == 1


def parent_of(pid: int) -> int:
    done = subprocess.run(
        ["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)
