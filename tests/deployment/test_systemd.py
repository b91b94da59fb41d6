"""The units of examples/systemd: valid, and stopped as systemd does it.

No systemd runs here: what it would send is sent by the tests.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.harness import ROOT, ClusterProcess, Project, command_line
from tests.managers import (
    STOPPING,
    Outcome,
    RecordOutcome,
    assert_nobody_is_left,
    assert_stopped,
    begin,
    type_in,
)
from tests.servers import missing

UNITS = ROOT / "examples" / "systemd"
SITE = "/srv/myproject"


class Units:
    """The example's units, moved to a project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folder = project.path / "systemd"
        self.folder.mkdir()
        for path in UNITS.iterdir():
            text = path.read_text().replace(f"{SITE}/.venv/bin/python", sys.executable)
            (self.folder / path.name).write_text(text.replace(SITE, str(project.path)))

    def verify(self, name: str) -> subprocess.CompletedProcess[str]:
        """Ask systemd what it thinks of a unit."""
        program = shutil.which("systemd-analyze")
        if program is None:
            missing("systemd-analyze is missing: apt-get install systemd")
        return subprocess.run(
            [program, "verify", "--man=no", str(self.folder / name)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def start(self, name: str) -> ClusterProcess:
        """Start what a unit says, which may be an instance of a template."""
        stem, at, rest = name.partition("@")
        template = f"{stem}@.service" if at else name
        command = service(self.folder / template)["ExecStart"]
        return type_in(self.project, command.replace("%i", rest.removesuffix(".service")))

    def stop(self, cluster: ClusterProcess, kill_mode: str) -> None:
        """Send what `systemctl stop` sends: all of the control group may be the last to know."""
        everybody = self.project.processes() if kill_mode == "control-group" else [cluster.pid]
        for pid in everybody:
            # Who was told before may have told it to leave.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def service(path: Path) -> dict[str, str]:
    """Return the settings of a unit's section [Service]."""
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return dict(parser["Service"])


@pytest.fixture
def units(project: Project) -> Units:
    """Return the units of a project."""
    return Units(project)


@pytest.mark.parametrize("name", ["qcluster.service", "qcluster@long.service"])
def test_systemd_finds_nothing_wrong_with_a_unit(units: Units, name: str) -> None:
    done = units.verify(name)

    assert (done.stdout, done.returncode) == ("", 0)


def test_systemd_would_say_what_is_wrong(units: Units) -> None:
    unit = units.folder / "qcluster.service"
    unit.write_text(unit.read_text().replace("KillMode=mixed", "KillMode=gentle"))

    assert "Failed to parse kill mode" in units.verify(unit.name).stdout


@pytest.mark.parametrize("kill_mode", ["control-group", "mixed"])
def test_a_cluster_stops_as_systemd_stops_it(
    project: Project, units: Units, record_outcome: RecordOutcome, kill_mode: str
) -> None:
    cluster = units.start("qcluster.service")
    gate = begin(project, "busy")
    assert len(project.processes()) > 5

    units.stop(cluster, kill_mode)
    cluster.wait_for_line(STOPPING)
    gate.open()

    code = cluster.wait()
    assert code == 0, cluster.log
    assert_stopped(project, "busy")
    stop = f"SIGTERM, KillMode={kill_mode}"
    record_outcome(Outcome("systemd", "ExecStart", stop, "90 s", str(code)))


@pytest.mark.parametrize(("kill_mode", "answer"), [("control-group", -15), ("mixed", 0)])
def test_mixed_spares_the_programs_of_tasks(
    project: Project, units: Units, kill_mode: str, answer: int
) -> None:
    gate = project.gate()
    cluster = units.start("qcluster.service")
    task = project.run(
        "from django_q.tasks import async_task\n"
        f"async_task('subprocess.call', ['sh', '-c', 'read line < {gate.path}; exit 0'])"
    )
    project.wait_until(lambda: runs(project, "read line"), what="a program of the task")

    units.stop(cluster, kill_mode)
    cluster.wait_for_line(STOPPING)
    gate.open()
    Path(gate.path).write_text("done\n")

    assert cluster.wait() == 0, cluster.log
    assert_nobody_is_left(project)
    assert project.run(f"from django_q.tasks import result; result({task!r})") == answer


def runs(project: Project, program: str) -> bool:
    """Say whether a process of the project is this program."""
    return any(command_line(pid).startswith(f"sh -c {program}") for pid in project.processes())


def test_an_instance_of_the_template_works_on_its_queue(project: Project, units: Units) -> None:
    project.configure({"workers": 1, "ALT_CLUSTERS": {"long": {"timeout": 50}}})
    cluster = units.start("qcluster@long.service")

    begin(project, "busy", cluster="long").open()

    assert [task["cluster"] for task in project.wait_for_tasks(1)] == ["long"]
    assert cluster.stop() == 0, cluster.log


def test_the_template_differs_in_its_queue_alone() -> None:
    unit, template = (service(UNITS / f"qcluster{at}.service") for at in ("", "@"))

    assert template == unit | {"ExecStart": unit["ExecStart"] + " --name %i"}


@pytest.mark.parametrize("path", sorted(UNITS.iterdir()), ids=lambda path: path.name)
def test_systemd_waits_longer_than_the_cluster_needs(project: Project, path: Path) -> None:
    stop_timeout = project.run(
        "from django_q.conf import get_settings; get_settings().stop_timeout"
    )

    assert float(service(path)["TimeoutStopSec"]) > stop_timeout
