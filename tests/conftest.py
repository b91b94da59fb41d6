"""Fixtures that every test may use."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import Database, OnMariaDB, OnPostgreSQL, OnServer, SQLite
from tests.harness import DATABASE_FILE, Project, make_template, temporary_folder
from tests.managers import OUTCOME, Outcome, RecordOutcome, show_outcomes
from tests.queues import Queue, RedisQueue
from tests.redis_servers import Redis
from tests.servers import MariaDB, PostgreSQL

SLOW_MODULES = (
    "faults/test_deaths",
    "faults/test_stopping",
    "cluster/test_start_methods",
    "faults/test_redis_away",
    "packaging/test_extras",
    "compat/test_side_by_side",
    "compat/test_upgrade",
    "brokers/test_wrong_brokers",
    "browser/test_pages",
    "brokers/test_conformance_sqs",
    "docs/test_benchmark",
    "cluster/test_qcluster",
)
"""What `--module-times` shows on top. A module stays in one process of pytest, so those that take
long are begun first: else the others end, and wait for them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to run the tests of clusters on another start method, and to say what took long."""
    parser.addoption(
        "--module-times",
        type=int,
        default=0,
        metavar="N",
        help="list the N modules whose tests took longest",
    )
    parser.addoption(
        "--start-method",
        choices=["fork", "spawn", "forkserver"],
        default="fork",
        help="how the clusters of projects start their processes",
    )


def pytest_xdist_auto_num_workers() -> int:
    """Run three tests on two cores: those of clusters wait more than they compute."""
    cores = os.cpu_count() or 1
    return cores + cores // 2


def pytest_configure(config: pytest.Config) -> None:
    """Give projects the start method that was asked for."""
    StartedProject.start_method = config.getoption("--start-method")
    config.addinivalue_line(
        "markers", "starts_anew: a project's processes are started as users start them."
    )
    config.addinivalue_line(
        "markers", "needs_fork(reason): skipped where --start-method is another."
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, and skip what is true of forked processes alone."""
    places = {f"tests/{name}.py": place for place, name in enumerate(SLOW_MODULES)}
    # Stable: within a module, and among the others, the order stays random.
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))
    for item in items:
        mark = item.get_closest_marker("needs_fork")
        if mark is not None and StartedProject.start_method != "fork":
            item.add_marker(pytest.mark.skip(reason=mark.args[0]))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show how process managers fared, and list the modules that took longest.

    What a module took is what its tests took one after the other.
    """
    show_outcomes(terminalreporter, terminalreporter.getreports("passed"))
    count = config.getoption("--module-times")
    if not count:
        return
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.section("seconds per module")
    for name, took in seconds.most_common(count):
        terminalreporter.line(f"{took:8.1f} {name}")


class StartedProject(Project):
    """A project whose clusters start their processes as `--start-method` says."""

    start_method = "fork"

    def configure(self, Q_CLUSTER: dict[str, Any], **django_settings: Any) -> None:  # noqa: N803
        """Write the settings, with the start method unless that is the default or is given."""
        method = {} if self.start_method == "fork" else {"start_method": self.start_method}
        super().configure(method | Q_CLUSTER, **django_settings)


@pytest.fixture(scope="session")
def template_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite database to copy."""
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """Yield a PostgreSQL server; a test that stops it starts it again."""
    server = PostgreSQL()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """Yield a MariaDB server; a test that stops it starts it again."""
    server = MariaDB()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """Yield a Redis that has on disk what it says yes to; a test that stops it starts it again."""
    server = Redis(appendonly="yes", appendfsync="always")
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the name of a migrated database to copy."""
    return _migrated(OnPostgreSQL(postgresql), tmp_path_factory)


@pytest.fixture(scope="session")
def mariadb_template(mariadb: MariaDB, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the name of a migrated database to copy."""
    return _migrated(OnMariaDB(mariadb), tmp_path_factory)


@pytest.fixture
def record_outcome(record_property: Callable[[str, object], None]) -> RecordOutcome:
    """Return what puts a row into the table of process managers."""

    def record(outcome: Outcome) -> None:
        # A list: it goes from one process of pytest to another.
        record_property(OUTCOME, list(outcome))

    return record


@pytest.fixture
def database_name(request: pytest.FixtureRequest) -> str:
    """Say which database the project has; parametrise it indirectly for another.

    With "redis" the queue is there, and the results are in SQLite.
    """
    return getattr(request, "param", "sqlite")


@pytest.fixture
def project(database_name: str, request: pytest.FixtureRequest) -> Iterator[Project]:
    """Yield a Django project in a folder of its own; nothing of it survives the test."""
    with temporary_folder() as folder:
        database = _database(database_name, folder, request)
        queue = _queue(database_name, request)
        project = StartedProject(folder, database, queue)
        project.starts_anew = request.node.get_closest_marker("starts_anew") is not None
        try:
            yield project
            project.close()
        finally:
            project.queue.drop()
            database.drop()


def _database(name: str, folder: Path, request: pytest.FixtureRequest) -> Database:
    # Servers are asked for by name: only tests that need one start it.
    value = request.getfixturevalue
    if name == "postgresql":
        return OnPostgreSQL(value("postgresql"), value("postgresql_template"))
    if name == "mariadb":
        return OnMariaDB(value("mariadb"), value("mariadb_template"))
    return SQLite(folder / DATABASE_FILE, value("template_database"))


def _queue(name: str, request: pytest.FixtureRequest) -> Queue | None:
    """Return a queue that is elsewhere than in the project's database."""
    return RedisQueue(request.getfixturevalue("redis_server")) if name == "redis" else None


def _migrated(database: OnServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    make_template(tmp_path_factory.mktemp("template"), database)
    return database.database
