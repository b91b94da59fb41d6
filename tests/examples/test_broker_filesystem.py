"""The example of a broker keeps the contract, and a real cluster loses nothing with it."""

import re
from pathlib import Path

import pytest

from tests.examples.conftest import EXAMPLES, Unpack, run_tests
from tests.harness import Project

EXAMPLE = EXAMPLES / "broker-filesystem"

ENQUEUE_GATED = """
from django_q.tasks import async_task
async_task("tests.jobs.gate", "held", {gate!r})
for number in range(20):
    async_task("tests.jobs.ok", number)
"""


@pytest.fixture
def queues(project: Project, unpack: Unpack) -> Path:
    """Install the broker into the project; return the folder of its queues."""
    unpack(EXAMPLE, project.path)
    folder = project.path / "queues"
    folder.mkdir()
    project.configure({"orm": None, "filesystem": {"folder": str(folder)}, "retry": 2})
    return folder


def test_its_own_tests_pass(unpack: Unpack, tmp_path: Path) -> None:
    unpack(EXAMPLE, tmp_path)

    said = run_tests(EXAMPLE, tmp_path)

    assert re.search(r"\d+ passed", said)


def test_a_task_goes_through_a_cluster(project: Project, queues: Path) -> None:
    project.start_cluster().wait_for_line("running")

    answer = project.run(
        "from django_q.tasks import async_task, result\n"
        'result(async_task("math.copysign", 2, -2), wait=20000)'
    )

    assert answer == -2.0
    project.wait_until(lambda: not packages(queues), what="the package to be acknowledged")


def test_a_killed_cluster_loses_nothing(project: Project, queues: Path) -> None:
    gate = project.gate()
    project.run(ENQUEUE_GATED.format(gate=gate.path))
    first = project.start_cluster()
    project.wait_until(lambda: project.starts()["held"], what="the gated task to start")

    first.kill(group=True)
    gate.open()
    project.start_cluster()

    project.wait_for_tasks(21)
    assert set(project.starts()) == {"held", *map(str, range(20))}
    assert project.starts()["held"] == 2
    project.wait_until(lambda: not packages(queues), what="the packages to be acknowledged")


def test_two_clusters_share_the_queue(project: Project, queues: Path) -> None:
    project.configure({"orm": None, "filesystem": {"folder": str(queues)}})
    for cluster in (project.start_cluster(), project.start_cluster()):
        cluster.wait_for_line("running")

    project.run(
        "from django_q.tasks import async_task\n"
        'for number in range(200): async_task("tests.jobs.ok", number)'
    )

    project.wait_for_tasks(200)
    assert set(project.starts().values()) == {1}


def test_wrong_settings_are_a_failed_check(project: Project, queues: Path) -> None:
    project.configure({"orm": None, "filesystem": {"folder": "queues"}})

    done = project.manage("check", check=False)

    assert done.returncode != 0
    assert "must be an absolute path, not 'queues'" in done.stderr


def packages(folder: Path) -> list[Path]:
    """List the files of all queues."""
    return [path for path in folder.rglob("*") if path.is_file()]
