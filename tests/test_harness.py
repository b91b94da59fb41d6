"""The harness itself: what it starts it also ends, and what it misses it says."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import zygote
from tests.harness import ClusterProcess, Project, living_in, wait_gone
from tests.zygote import Forked

DAEMON = """\
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
)
print("started", child.pid, flush=True)
"""


WHAT_IT_FINDS = """\
import multiprocessing.process, os, signal, sys, threading
[
    [sys.argv[0], __name__, sys.path, sys.executable, sys.stdin.read()],
    [os.getcwd(), multiprocessing.process.ORIGINAL_DIR, sorted(os.listdir("/proc/self/fd"))],
    [str(signal.getsignal(number)) for number in range(1, signal.NSIG)],
    [sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), threading.active_count()],
    [sorted(os.environ), "__file__" in vars(sys.modules["__main__"])],
    "project_settings" in sys.modules, str(sys.flags), sys.stdout.write_through,
]
"""

SAYS_AND_FAILS = """\
import sys
print(__file__, sys.argv, sys.path[0])
print("to stderr", file=sys.stderr)
sys.exit(7)
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


# Processes that are forked instead


def in_both_ways(project: Project, find: Callable[[], Any]) -> list[Any]:
    found = []
    for project.starts_anew in (True, False):
        found.append(find())
    return found


def test_code_in_a_fork_finds_what_it_finds_in_a_new_interpreter(project: Project) -> None:
    new, forked = in_both_ways(project, lambda: project.run(WHAT_IT_FINDS))

    assert forked == new


def test_a_forked_program_prints_and_ends_as_a_new_one(project: Project) -> None:
    (project.path / "program.py").write_text(SAYS_AND_FAILS)

    new, forked = in_both_ways(project, lambda: project.python("program.py", "a", check=False))

    assert (forked.returncode, forked.stdout, forked.stderr) == (7, new.stdout, "to stderr\n")


def test_forks_have_random_numbers_and_keys_of_their_own(project: Project) -> None:
    code = (
        "import multiprocessing, random, uuid\n"
        "[random.random(), uuid.uuid4().hex, multiprocessing.current_process().authkey.hex()]"
    )

    first, second = project.run(code), project.run(code)

    assert not set(first) & set(second)


def test_a_fork_that_is_killed_says_by_what(project: Project) -> None:
    cluster = start(project, "import time; print('up', flush=True); time.sleep(60)")
    cluster.wait_for_line("up")

    cluster.kill()

    assert isinstance(cluster.process, Forked)
    assert cluster.process.poll() in (None, -9)
    assert cluster.wait() == -9


def test_what_must_be_heeded_at_the_start_of_an_interpreter_is_not_forked(
    project: Project,
) -> None:
    command = [sys.executable, "manage.py", "check"]

    assert project.can_fork(command, project.env)
    assert not project.can_fork(command, project.env | {"PYTHONWARNINGS": "error"})
    assert not project.can_fork([sys.executable, "-m", "this"], project.env)
    assert not project.can_fork(["/usr/bin/python3", *command[1:]], project.env)


@pytest.mark.starts_anew
def test_a_test_may_have_everything_started_as_users_start_it(project: Project) -> None:
    assert not project.can_fork([sys.executable, "manage.py", "check"], project.env)


def test_the_file_for_coverage_alone_keeps_no_process_from_being_forked(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVERAGE_FILE", "/tmp/coverage")
    monkeypatch.setitem(zygote.AT_FIRST, "COVERAGE_FILE", "/tmp/coverage")
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delitem(zygote.AT_FIRST, name, raising=False)

    assert project.can_fork([project.interpreter, "manage.py", "qcluster"], project.env)
