"""The harness itself: what it starts it also ends, and what it misses it says."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ClusterProcess, Project, living_in, wait_gone

DAEMON = """\
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
)
print("started", child.pid, flush=True)
"""


def start(project: Project, code: str) -> ClusterProcess:
    cluster = ClusterProcess([sys.executable, "-c", code], project, project.env)
    project.clusters.append(cluster)
    return cluster


def test_a_process_that_outlives_its_cluster_fails_the_test_and_is_ended(tmp_path: Path) -> None:
    project = Project(tmp_path)
    cluster = start(project, DAEMON)
    survivor = cluster.pid_of("started")

    with pytest.raises(AssertionError, match=f"process {survivor} outlived its cluster"):
        project.close(grace_seconds=0.1)

    assert wait_gone([survivor], timeout=10) == []
    assert living_in(tmp_path) == []


def test_a_cluster_that_does_not_stop_fails_the_test_and_is_ended(tmp_path: Path) -> None:
    project = Project(tmp_path)
    code = "import signal; signal.signal(15, lambda *_: None); print('deaf', flush=True)"
    cluster = start(project, f"{code}\nwhile True: signal.pause()")
    cluster.wait_for_line("deaf")

    with pytest.raises(AssertionError, match=r"expected to end within 0\.1 s"):
        project.close(grace_seconds=0.1)

    assert cluster.process.returncode == -9


def test_a_line_that_never_comes_is_reported_with_the_log(tmp_path: Path) -> None:
    project = Project(tmp_path)
    cluster = start(project, "print('something else')")

    with pytest.raises(AssertionError, match="something else"):
        cluster.wait_for_line("hoped for")

    project.close()


def test_code_runs_with_django_set_up_and_returns_its_last_expression(project: Project) -> None:
    project.configure({"name": "other"}, LANGUAGE_CODE="de")

    answer = project.run(
        "from django.conf import settings\n[settings.LANGUAGE_CODE, settings.Q_CLUSTER['name']]"
    )

    assert answer == ["de", "other"]


def test_a_project_has_the_tables_without_migrating(project: Project) -> None:
    assert project.tasks() == []
    assert project.query("PRAGMA journal_mode") == [("wal",)]


def test_a_failing_command_shows_what_it_printed(project: Project) -> None:
    with pytest.raises(AssertionError, match="no such thing"):
        project.python("raise SystemExit('no such thing')")


def test_an_open_gate_lets_everyone_through(project: Project) -> None:
    gate = project.gate()
    code = f"from tests import jobs; jobs.gate('a', {gate.path!r})"
    waiting = subprocess.Popen([sys.executable, "-c", code], cwd=project.path, env=project.env)
    project.wait_for_starts(1)

    gate.open()

    assert waiting.wait(10) == 0
    assert [note.event for note in project.ledger()] == ["start", "end"]
