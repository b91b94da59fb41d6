"""More than one database: replicas that lag behind, and queues that lie elsewhere."""

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.databases import SQLite
from tests.harness import Project

ROUTER = """\
class Router:
    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, first, second, **hints):
        return True
"""

EVERYTHING = """\
from django.utils import timezone
from django_q.tasks import async_chain, async_iter, async_task
for i in range(20):
    async_task("tests.jobs.ok", i)
async_task("tests.jobs.fail_times", "failing", 2)
async_task("tests.jobs.ok", "hooked", hook="tests.jobs.note_hook")
async_chain([("tests.jobs.ok", (f"link-{i}",)) for i in range(3)])
async_iter("tests.jobs.ok", ["item-0", "item-1", "item-2"])
"""

STARTS = {
    **{str(i): 1 for i in range(20)},
    **{f"link-{i}": 1 for i in range(3)},
    **{f"item-{i}": 1 for i in range(3)},
    "failing": 3,
    "hooked": 1,
}


def rows(path: Path, table: str) -> int:
    """Count the rows of a table of another database."""
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as connection:
        count: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return count


def run_everything(project: Project, queue: Path) -> None:
    """Have a cluster do all of the above, until the queue is empty."""
    project.run(EVERYTHING)
    cluster = project.start_cluster()
    project.wait_until(lambda: rows(queue, "django_q_ormq") == 0, what="an empty queue")
    assert cluster.stop() == 0, cluster.log
    assert project.starts() == STARTS
    # 20 plain ones, the one that failed first, the hooked one, three links, one collated result.
    assert [task["success"] for task in project.tasks()] == [1] * 26
    assert [note.event for note in project.ledger() if note.event == "hook"] == ["hook"]


@pytest.fixture
def replicated(project: Project) -> Project:
    """Return a project whose router reads from a replica that never hears of anything."""
    (project.path / "routers.py").write_text(ROUTER)
    replica = project.path / "replica.sqlite3"
    shutil.copyfile(project.database_path, replica)
    configure_replica(project, {})
    return project


def configure_replica(project: Project, options: dict[str, Any]) -> None:
    project.configure(
        {"max_attempts": 5, "backoff": 0, **options},
        DATABASES={
            "default": project.database.settings,
            "replica": SQLite(project.path / "replica.sqlite3").settings,
        },
        DATABASE_ROUTERS=["routers.Router"],
    )


def test_a_cluster_decides_nothing_by_what_a_replica_says(replicated: Project) -> None:
    run_everything(replicated, replicated.database_path)

    for table in ("django_q_task", "django_q_ormq"):
        assert rows(replicated.path / "replica.sqlite3", table) == 0


def test_schedules_are_run_once_though_the_replica_does_not_know_them(
    replicated: Project,
) -> None:
    replicated.run(
        "from django_q.tasks import schedule\n"
        "schedule('tests.jobs.ok', 'scheduled', schedule_type='O', repeats=1)"
    )

    cluster = replicated.start_cluster()
    replicated.wait_for_tasks(1)
    assert cluster.stop() == 0, cluster.log

    assert replicated.starts() == {"scheduled": 1}


def test_results_are_read_where_they_are_written_with_has_replica(replicated: Project) -> None:
    configure_replica(replicated, {"has_replica": True})
    cluster = replicated.start_cluster()

    answers = replicated.run(
        "from django_q.tasks import async_iter, async_task, fetch, result, result_group\n"
        "one = async_task('math.fabs', -1, group='some')\n"
        "many = async_iter('math.fabs', [-1, -2])\n"
        "[result(one, wait=20000), result_group('some', count=1, wait=20000),\n"
        " fetch(one).success, result(many, wait=20000)]"
    )

    assert answers == [1.0, [1.0], True, [1.0, 2.0]]
    assert cluster.stop() == 0


def test_a_queue_in_another_database_than_the_results(project: Project) -> None:
    queue = project.path / "queue.sqlite3"
    shutil.copyfile(project.database_path, queue)
    project.configure(
        {"orm": "queue", "max_attempts": 5, "backoff": 0},
        DATABASES={
            "default": project.database.settings,
            "queue": SQLite(queue).settings,
        },
    )

    run_everything(project, queue)

    assert rows(queue, "django_q_task") == 0
    assert rows(project.database_path, "django_q_ormq") == 0
