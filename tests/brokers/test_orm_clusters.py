"""Several clusters share one queue, on every database and with every way to connect to it."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from tests.databases import OnServer
from tests.harness import Project
from tests.servers import PgBouncer, PostgreSQL

ENQUEUE = """
from django_q.tasks import async_task
for number in range({count}):
    async_task("tests.jobs.ok", f"task-{{number}}")
"""

on_every_database = pytest.mark.parametrize(
    "database_name", ["sqlite", "postgresql", "mariadb"], indirect=True
)


@on_every_database
def test_three_clusters_share_the_work_and_do_each_task_once(project: Project) -> None:
    project.configure({"workers": 1, "save_limit": 0})
    gate = project.gate()
    clusters = [project.start_cluster() for _ in range(3)]
    for cluster in clusters:
        cluster.wait_for_line("pushing tasks at")

    project.run(
        "from django_q.tasks import async_task\n"
        f"for number in range(3): async_task('tests.jobs.gate', f'gate-{{number}}', {gate.path!r})"
    )
    held = project.wait_for_starts(3)
    workers = {note.pid for note in project.ledger()}
    project.run(ENQUEUE.format(count=300))
    gate.open()
    tasks = project.wait_for_tasks(303, timeout=60)

    assert len(held) == len(workers) == 3  # one in each cluster, none claimed ahead
    assert {task["success"] for task in tasks} == {1}
    assert set(project.starts().values()) == {1}
    assert len(project.starts()) == 303


POOL = {"CONN_MAX_AGE": 0, "OPTIONS": {"pool": True}}


@pytest.mark.parametrize(
    ("database_name", "database", "django_settings"),
    [
        pytest.param("postgresql", {"CONN_MAX_AGE": 0}, {}, id="connections are not kept"),
        pytest.param(
            "postgresql",
            POOL,
            {},
            id="a pool",
            marks=pytest.mark.skipif(
                importlib.util.find_spec("psycopg_pool") is None,
                reason="psycopg_pool is not installed: pip install psycopg-pool",
            ),
        ),
        pytest.param(
            "postgresql",
            {},
            {"USE_TZ": False, "TIME_ZONE": "Asia/Kathmandu"},
            id="postgresql, naive times",
        ),
        pytest.param(
            "mariadb",
            {},
            {"USE_TZ": False, "TIME_ZONE": "Asia/Kathmandu"},
            id="mariadb, naive times",
        ),
    ],
    indirect=["database_name"],
)
def test_a_cluster_runs_its_tasks_however_the_site_connects(
    project: Project, database: dict[str, Any], django_settings: dict[str, Any]
) -> None:
    project.database.settings |= database
    project.configure({"workers": 2, "max_attempts": 2, "backoff": 0.1}, **django_settings)
    cluster = project.start_cluster()
    cluster.wait_for_line("pushing tasks at")

    project.run(
        "from django_q.tasks import async_task; async_task('tests.jobs.fail_times', 'a', 1)"
    )
    project.run(ENQUEUE.format(count=10))
    project.wait_until(lambda: all(task["success"] for task in project.wait_for_tasks(11)))

    assert cluster.stop() == 0
    assert project.starts()["a"] == 2
    assert project.query("SELECT count(*) FROM django_q_ormq") == [(0,)]


@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
def test_a_cluster_works_behind_a_pooler_in_transaction_mode(
    project: Project, postgresql: PostgreSQL
) -> None:
    assert isinstance(project.database, OnServer)
    bouncer = PgBouncer(postgresql)
    try:
        bouncer.start()
        project.database.settings = bouncer.settings(project.database.database)
        project.configure({"workers": 2})
        cluster = project.start_cluster()
        cluster.wait_for_line("No notification arrives from database 'default'")

        project.run(ENQUEUE.format(count=30))
        project.wait_for_tasks(30)

        assert cluster.stop() == 0
        assert set(project.starts().values()) == {1}
        assert cluster.log.count("No notification arrives") == 1
    finally:
        bouncer.close()
