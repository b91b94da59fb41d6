"""`manage.py qmonitor` in a terminal of its own, over real clusters."""

import json
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.harness import ClusterProcess, Project
from tests.terminals import Pane

HEADER = ["Host", "Id", "State", "Pool", "TQ", "RQ", "RC", "Up"]
QUIT = "[Press q to quit]"

STATUSES = """
from django_q.status import Stat
[[str(stat.status), len(stat.running)] for stat in Stat.get_all()]
"""

LASTING = """
from django_q.status import Stat
Stat.from_snapshot({"cluster_id": "known", "pid": 17004, "host": "Orion"}).save(ttl=600)
"""


@pytest.fixture
def clusters(project: Project) -> Iterator[list[ClusterProcess]]:
    """Yield two clusters, of two workers and of one, the second of which runs a task."""
    project.configure({"ALT_CLUSTERS": {"long": {"workers": 1}}})
    gate = project.gate()
    started = [project.start_cluster(), project.start_cluster("-n", "long")]
    project.run(
        "from django_q.tasks import async_task\n"
        f"async_task('tests.jobs.gate', 1, {gate.path!r}, task_name='patient', cluster='long')"
    )
    project.wait_until(lambda: sorted(project.run(STATUSES)) == [["Idle", 0], ["Working", 1]])
    yield started
    gate.open()


@pytest.fixture
def pane(project: Project) -> Iterator[Pane]:
    """Yield a terminal of 80 by 24, which says how the last program ended."""
    with Pane(project) as pane:
        yield pane


@pytest.fixture
def monitor(project: Project, pane: Pane) -> Callable[..., int]:
    """Return what starts qmonitor in the terminal, and returns its pid when it shows something."""

    def start(*arguments: str) -> int:
        command = f"{project.interpreter} manage.py qmonitor {' '.join(arguments)}"
        run = f"sh -c 'echo $$ >pid; exec {command}'"
        pane.type(f"stty -g >before; {run}; echo $? >status; stty -g >after")
        project.wait_until(lambda: QUIT in pane.screen(), what="the screen of qmonitor")
        return int((project.path / "pid").read_text())

    return start


def end(project: Project, pane: Pane) -> tuple[int, bool]:
    """Return with which status the monitor has ended, and if the terminal is as before."""
    after = project.path / "after"
    project.wait_until(lambda: after.exists() and after.read_text(), what="the end of qmonitor")
    is_restored = after.read_text() == (project.path / "before").read_text()
    return int((project.path / "status").read_text()), is_restored and not pane.is_full_screen()


def test_the_screen_shows_two_clusters_and_what_they_run(
    project: Project, clusters: list[ClusterProcess], pane: Pane, monitor: Callable[..., int]
) -> None:
    monitor()

    header, *rows = [line.split() for line in pane.screen()]

    assert header == HEADER
    host = os.uname().nodename
    assert [row[:-1] for row in rows[:2]] == [
        [host, str(clusters[1].pid), "Working", "1", "0", "0", "0"],
        [host, str(clusters[0].pid), "Idle", "2", "0", "0", "0"],
    ]
    assert rows[2] == ["3", "0"]
    assert rows[4][2:4] == ["Queued", "0(1)"]
    assert rows[6] == ["Queue", "Pid", "Function", "Name", "For"]
    assert [rows[7][0], *rows[7][2:4]] == ["long", "tests.jobs.gate", "patient"]
    assert pane.is_full_screen()


def test_nothing_wraps_in_a_narrow_terminal(
    project: Project, clusters: list[ClusterProcess], pane: Pane, monitor: Callable[..., int]
) -> None:
    monitor()
    wide = [line for line in pane.screen() if line]

    pane.tmux("resize-window", "-x", "60")
    narrow = pane.wait_for(lambda lines: lines[0].endswith("Up"), "the header in 60 columns")

    assert [line.split()[0] for line in narrow] == [line.split()[0] for line in wide]
    assert narrow[0].split() == HEADER


def test_q_quits_and_the_terminal_is_as_before(
    project: Project, pane: Pane, monitor: Callable[..., int]
) -> None:
    monitor()

    pane.press("q")

    assert end(project, pane) == (0, True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_the_terminal_is_as_before(
    project: Project, pane: Pane, monitor: Callable[..., int], number: int, status: int
) -> None:
    pid = monitor()

    os.kill(pid, number)

    assert end(project, pane) == (status, True)


def test_what_is_out_of_reach_is_said_and_looked_at_again(
    project: Project, pane: Pane, monitor: Callable[..., int]
) -> None:
    project.run(LASTING)
    monitor()
    assert "Orion" in pane.screen()[1]

    project.query("ALTER TABLE django_q_clusterstatus RENAME TO elsewhere")
    project.wait_until(lambda: "Out of reach since" in "\n".join(pane.screen()))
    assert "Orion" in pane.screen()[1]
    project.query("ALTER TABLE elsewhere RENAME TO django_q_clusterstatus")

    project.wait_until(lambda: "Out of reach since" not in "\n".join(pane.screen()))


# Without a terminal


@pytest.mark.parametrize("command", ["qmonitor", "qmemory"])
def test_the_status_says_if_a_cluster_is_alive(project: Project, command: str) -> None:
    nobody = project.manage(command, "--json", check=False)
    project.run(LASTING)
    somebody = project.manage(command, "--json")

    assert (nobody.returncode, json.loads(nobody.stdout)) == (1, [])
    assert [each["pid"] for each in json.loads(somebody.stdout)] == [17004]


def test_in_a_pipe_it_is_shown_once(project: Project) -> None:
    nobody = project.manage("qmonitor", check=False)
    project.run(LASTING)
    somebody = project.manage("qmonitor")

    assert nobody.returncode == 1
    assert nobody.stdout.splitlines()[0].split() == HEADER
    assert "No cluster" in nobody.stdout
    assert somebody.stdout.splitlines()[1].split()[:3] == ["Orion", "17004", "Stopped"]
