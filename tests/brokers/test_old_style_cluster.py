"""Brokers written for Django Q and Django Q2 serve a real cluster."""

from pathlib import Path

import pytest

from tests.brokers.old_style import FOLDER_VARIABLE
from tests.harness import Project

ENQUEUE = """
from django_q.tasks import async_task
for label in "abcde":
    async_task("tests.jobs.ok", label)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the brokers keep their files, in every process."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def use(project: Project, broker: str, **options: object) -> None:
    path = f"tests.brokers.old_style.{broker}"
    project.configure({"workers": 1, "broker_class": path, **options})


@pytest.mark.parametrize("broker", ["FileList", "FileReceipts", "AuditedORM", "HandmadeORM"])
def test_every_task_of_a_1x_broker_runs_once(project: Project, broker: str) -> None:
    use(project, broker)
    project.run(ENQUEUE)

    cluster = project.start_cluster("--run-once")

    assert cluster.wait() == 0
    assert project.starts() == dict.fromkeys("abcde", 1)
    assert all(task["success"] for task in project.tasks())


def test_a_broker_that_only_has_a_name_keeps_a_cluster_idle(project: Project) -> None:
    use(project, "Renamed")

    cluster = project.start_cluster()
    cluster.wait_for_line("running")
    cluster.terminate()

    assert cluster.wait() == 0


def test_an_orm_subclass_hears_of_every_step(project: Project, folder: Path) -> None:
    use(project, "AuditedORM")
    project.run('from django_q.tasks import async_task; async_task("tests.jobs.ok", "a")')

    assert project.start_cluster("--run-once").wait() == 0

    notes = [line.split()[0] for line in (folder / "audit.log").read_text().splitlines()]
    assert notes == ["enqueue", "dequeue", "acknowledge"]


@pytest.mark.parametrize("broker", ["FileReceipts", "AuditedORM"])
def test_a_failed_task_is_tried_as_often_as_max_attempts_says(
    project: Project, broker: str
) -> None:
    use(project, broker, retry=1, max_attempts=3)
    project.run('from django_q.tasks import async_task; async_task("tests.jobs.fail", "a")')

    cluster = project.start_cluster()
    project.wait_for_starts(3)
    project.wait_until(lambda: [t["attempt_count"] for t in project.tasks()] == [3])
    cluster.terminate()

    assert cluster.wait() == 0
    assert project.starts() == {"a": 3}
