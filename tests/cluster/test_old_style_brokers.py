"""Brokers written for Django Q and Django Q2 feed a cluster unchanged."""

from pathlib import Path

import pytest

from tests.brokers.old_style import FOLDER_VARIABLE
from tests.harness import Project

NAMED = """\
from django_q.brokers.orm import ORM

class Named(ORM):
    def info(self):
        return "My Custom Broker"
"""

ENQUEUE = """\
from django_q.tasks import async_task
for i in range(40):
    async_task("tests.jobs.ok", i)
async_task("tests.jobs.fail_times", "failing", 1)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def old(project: Project) -> Project:
    (project.path / "named.py").write_text(NAMED)
    return project


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "broker",
    [
        "named.Named",
        "tests.brokers.old_style.AuditedORM",
        "tests.brokers.old_style.HandmadeORM",
        "tests.brokers.old_style.FileReceipts",
    ],
)
def test_every_task_runs_once_and_a_failed_one_again_after_retry(old: Project, broker: str) -> None:
    # Such a broker cannot renew a lease, so retry is longer than a busy machine ever takes.
    old.configure({"broker_class": broker, "retry": 2, "max_attempts": 3, "poll": 0.02})
    old.run(ENQUEUE)

    cluster = old.start_cluster()
    old.wait_until(lambda: old.starts()["failing"] == 2, what="the second attempt")
    old.wait_until(lambda: all(task["success"] for task in old.tasks()), what="its success")
    assert cluster.stop() == 0, cluster.log

    starts = old.starts()
    assert starts.pop("failing") == 2
    assert starts == {str(i): 1 for i in range(40)}
    assert sorted(task["attempt_count"] for task in old.tasks()) == [1] * 40 + [2]
    assert old.run("from django_q.tasks import queue_size; queue_size()") == 0


@pytest.mark.usefixtures("folder")
def test_a_broker_without_receipts_is_never_asked_for_more_than_workers_can_start(
    old: Project,
) -> None:
    gate = old.gate()
    old.configure({"broker_class": "tests.brokers.old_style.FileList", "poll": 0.02})
    old.run(
        "from django_q.tasks import async_task\n"
        f"[async_task('tests.jobs.gate', i, {gate.path!r}) for i in range(10)] and None"
    )
    cluster = old.start_cluster()
    old.wait_for_starts(2)

    assert old.run("from django_q.tasks import queue_size; queue_size()") == 8
    cluster.terminate(group=True)
    cluster.wait_for_line("stopped pushing tasks")
    gate.open()
    assert cluster.wait(10) == 0, cluster.log
    assert old.starts().total() == 2
    assert old.run("from django_q.tasks import queue_size; queue_size()") == 8

    second = old.start_cluster("--run-once")
    assert second.wait() == 0, second.log
    assert old.starts() == {str(i): 1 for i in range(10)}


def test_overrides_of_an_orm_subclass_are_called_for_every_package(
    old: Project, folder: Path
) -> None:
    old.configure({"broker_class": "tests.brokers.old_style.AuditedORM", "poll": 0.02})
    old.run(
        "from django_q.tasks import async_task\n"
        "[async_task('tests.jobs.ok', i) for i in range(5)] and None"
    )

    cluster = old.start_cluster("--run-once")
    assert cluster.wait() == 0, cluster.log

    noted = [line.split()[0] for line in (folder / "audit.log").read_text().splitlines()]
    assert [noted.count(what) for what in ("enqueue", "dequeue", "acknowledge")] == [5, 5, 5]
