"""PostgreSQL restarted, killed, away, or its connections cut: real servers, real outages."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_q.cluster.dealer import AHEAD_MOST
from django_q.cluster.monitor import MOST_CHARACTERS
from tests.chaos import HELPERS, SETTINGS, Chaos, enqueue, is_done, members
from tests.databases import OnPostgreSQL
from tests.harness import ClusterProcess, Project, make_template, session_members
from tests.servers import PostgreSQL

pytestmark = pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)

RESULT_BYTES = 50_000

MOST_GROWTH = 2 * MOST_CHARACTERS + 16 * 2**20
"""What the monitor holds of one batch, as it came and as it goes; and what many imports take."""

LOST, FOUND = "Lost the database 'default'", "Found the database 'default' again"


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    """Yield a server of this module's own, which nobody else misses while it is away."""
    server = PostgreSQL()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def postgresql_template(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the name of a migrated database to copy."""
    database = OnPostgreSQL(postgresql)
    make_template(tmp_path_factory.mktemp("template"), database)
    return database.database


def labels(count: int) -> list[str]:
    return [f"task-{number}" for number in range(count)]


def words(cluster: ClusterProcess) -> tuple[int, int]:
    """How often was the database said to be lost, and to be back?"""
    return cluster.log.count("Lost "), cluster.log.count("Found ")


def assert_each_ran_once(project: Project, expected: list[str]) -> None:
    project.wait_until(lambda: is_done(project, expected), 40, "the success of all tasks")
    assert project.starts() == dict.fromkeys(expected, 1)


def test_five_restarts_under_load_cost_two_lines_each_and_nothing_else(
    project: Project, postgresql: PostgreSQL
) -> None:
    expected = labels(400)
    project.configure(SETTINGS)
    enqueue(project, expected)
    cluster = project.start_cluster()

    for restart in range(1, 6):
        project.wait_for_starts(restart * 50)
        # Every other time as a crash, after which it comes back by recovery.
        (postgresql.kill if restart % 2 else postgresql.stop)()
        cluster.wait_for_line(LOST, count=restart)
        postgresql.start()
        cluster.wait_for_line(FOUND, count=restart)

    assert_each_ran_once(project, expected)
    assert cluster.stop() == 0
    assert words(cluster) == (5, 5), cluster.log


def test_connections_that_are_cut_under_load_cost_nothing(
    project: Project, postgresql: PostgreSQL
) -> None:
    expected = labels(300)
    project.configure(SETTINGS)
    enqueue(project, expected)
    cluster = project.start_cluster()

    for cut in range(1, 6):
        project.wait_for_starts(cut * 50)
        assert postgresql.cut_connections(project.database.settings["NAME"]) > 0

    assert_each_ran_once(project, expected)
    assert cluster.stop() == 0
    lost, found = words(cluster)
    assert lost == found, cluster.log


def test_what_waits_while_the_database_is_away_longer_than_retry_is_bounded_and_runs_once(
    project: Project, postgresql: PostgreSQL
) -> None:
    expected = labels(500)
    project.configure(SETTINGS | {"retry": 1})
    enqueue(project, expected, "tests.jobs.big", RESULT_BYTES)
    cluster = project.start_cluster()
    project.wait_for_starts(20)
    memory = memory_of(cluster)

    postgresql.stop()
    cluster.wait_for_line(LOST)
    started = project.starts().total()
    # No event tells of the end of the leases.
    time.sleep(2)
    held = project.starts().total() - started
    grown = memory_of(cluster) - memory
    postgresql.start()

    assert_each_ran_once(project, expected)
    assert held <= 2 * AHEAD_MOST
    assert grown < MOST_GROWTH
    assert cluster.stop() == 0
    assert words(cluster) == (1, 1), cluster.log


def memory_of(cluster: ClusterProcess) -> int:
    """Return how many bytes the processes of a cluster have for themselves."""
    status = [Path(f"/proc/{pid}/status").read_text() for pid in session_members({cluster.pid})]
    return sum(int(re.findall(r"RssAnon:\s+(\d+) kB", text)[0]) for text in status) * 1024


def test_whoever_dies_while_the_database_is_away_takes_no_result_with_it(
    project: Project, postgresql: PostgreSQL
) -> None:
    gate = project.gate()
    expected = labels(2)
    project.configure(SETTINGS | {"retry": 1})
    enqueue(project, expected, "tests.jobs.gate", gate.path)
    chaos = Chaos(project, seed=0)
    cluster = chaos.start()
    project.wait_for_starts(2)

    postgresql.stop()
    gate.open()
    cluster.wait_for_line(LOST)
    for role in HELPERS:
        chaos.kill_one(role)
    project.wait_until(lambda: set(HELPERS) <= set(members(project)), what="their successors")
    postgresql.start()

    assert_each_ran_once(project, expected)
    cluster.wait_for_line(FOUND)
    assert cluster.stop() == 0
    assert words(cluster) == (1, 1)


def test_a_worker_that_dies_after_an_unnoticed_restart_is_reported_all_the_same(
    project: Project, postgresql: PostgreSQL
) -> None:
    gate = project.gate()
    project.configure(SETTINGS | {"workers": 1, "max_worker_deaths": 2})
    enqueue(project, ["before"], "tests.jobs.ok")
    enqueue(project, ["long"], "tests.jobs.gate", gate.path)
    cluster = project.start_cluster()
    project.wait_for_tasks(1)
    project.wait_until(lambda: "long" in project.starts(), what="the start of the long task")

    postgresql.restart()
    Chaos(project, seed=0).kill_one("worker")
    cluster.wait_for_line("Failed .* SIGKILL")
    gate.open()

    project.wait_until(lambda: is_done(project, ["long"]), what="the second attempt's success")
    assert cluster.stop() == 0
