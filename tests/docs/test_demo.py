"""The demo accounts for every file, also for those that do not parse."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from demo.__main__ import python_files
from demo.report import Outcome
from demo.tasks import measure, reason
from tests.harness import ROOT


def run_demo(data: Path, *options: str) -> subprocess.Popen[str]:
    env = os.environ | {"DEMO_DATA": str(data), "COLUMNS": "120"}
    env.pop("DJANGO_SETTINGS_MODULE", None)
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *options],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_file(path: Path, timeout: float = 60) -> None:
    """Return when another process has made a file."""
    deadline, pause = time.monotonic() + timeout, threading.Event()
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was not written within {timeout} s"
        pause.wait(0.02)


def test_the_demo_ends_with_its_table(tmp_path: Path) -> None:
    demo = run_demo(tmp_path / "data", "--limit", "30", "--workers", "2")

    output, _ = demo.communicate(timeout=120)

    assert demo.returncode == 0, output
    assert "The ten largest modules" in output
    assert "30 tasks recorded" in output
    assert "0 missing; the hook collated 30" in " ".join(output.split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_its_cluster(tmp_path: Path, number: int) -> None:
    demo = run_demo(tmp_path / "data", "--workers", "2")
    wait_for_file(tmp_path / "data/collated.jsonl")

    demo.send_signal(number)
    output, _ = demo.communicate(timeout=60)

    assert demo.returncode == 130, output
    assert "the cluster has stopped" in output
    assert "has stopped." in (tmp_path / "data/cluster.log").read_text()


def test_an_unknown_broker_is_refused_by_name(tmp_path: Path) -> None:
    demo = run_demo(tmp_path / "data", "--broker", "reddis")

    output, _ = demo.communicate(timeout=60)

    assert demo.returncode == 2
    assert "reddis" in output
    assert "orm" in output


def test_a_file_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("import os\n\n\nclass A:\n    def b(self): ...\n")

    assert measure(str(path)) == {"lines": 5, "functions": 1, "classes": 1, "imports": 1}


def test_a_file_that_does_not_parse_is_a_failed_task(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("print 'hello'\n")

    with pytest.raises(SyntaxError):
        measure(str(path))


def test_the_reason_of_a_failure_is_the_line_that_names_the_error() -> None:
    result = 'invalid syntax (x.py) : Traceback …\n  File "x.py"\nSyntaxError: invalid syntax'

    assert reason(result) == "SyntaxError: invalid syntax"


def test_installed_packages_are_no_part_of_the_standard_library(tmp_path: Path) -> None:
    for name in ("a.py", "site-packages/b.py", "sub/c.py", "dist-packages/d.py", "e.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()

    found = [Path(path).name for path in python_files(tmp_path)]

    assert found == ["a.py", "c.py"]


@pytest.mark.parametrize(
    ("missing", "collated", "complete"), [([], 1, True), (["b.py"], 1, False), ([], 0, False)]
)
def test_the_demo_is_complete_when_each_file_is_recorded_and_collated(
    missing: list[str], collated: int, complete: bool
) -> None:
    counts = {"lines": 1, "functions": 0, "classes": 0, "imports": 0}
    outcome = Outcome(Path("/"), {"/a.py": counts}, {}, missing, collated, 1.0, 2, "orm")

    assert outcome.complete is complete
