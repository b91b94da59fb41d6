"""A project on a database server: a migrated database of its own, which is dropped with it."""

import pytest

from tests.databases import OnServer
from tests.harness import Project
from tests.servers import PgBouncer, PostgreSQL

on_servers = pytest.mark.parametrize("database_name", ["postgresql", "mariadb"], indirect=True)


@on_servers
def test_a_cluster_on_it_runs_a_task(project: Project) -> None:
    project.run("from django_q.tasks import async_task; async_task('tests.jobs.ok', 'a', 'answer')")

    cluster = project.start_cluster("--run-once")

    assert cluster.wait() == 0
    [task] = project.tasks()
    assert (task["func"], task["success"]) == ("tests.jobs.ok", 1)
    assert project.query("SELECT count(*) FROM django_q_task WHERE func = ?", "x") == [(0,)]


@on_servers
def test_a_server_that_is_killed_comes_back_with_its_data(project: Project) -> None:
    assert isinstance(project.database, OnServer)
    project.query("CREATE TABLE kept AS SELECT 7 AS number")

    project.database.server.kill()
    project.database.server.start()

    assert project.query("SELECT number FROM kept") == [(7,)]


@on_servers
def test_connections_can_be_cut(project: Project) -> None:
    assert isinstance(project.database, OnServer)
    connection = project.database.connect()

    cut = project.database.server.cut_connections(project.database.database)

    assert cut == 1
    with pytest.raises(Exception, match=r"terminat|closed|gone away|Lost connection|killed"):
        connection.cursor().execute("SELECT 1")


@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
def test_a_bouncer_leads_to_the_database(project: Project, postgresql: PostgreSQL) -> None:
    assert isinstance(project.database, OnServer)
    bouncer = PgBouncer(postgresql)
    bouncer.start()
    try:
        with bouncer.connect(project.database.database) as connection:
            found = connection.execute("SELECT current_database()").fetchone()
    finally:
        bouncer.close()

    assert found == (project.database.database,)
