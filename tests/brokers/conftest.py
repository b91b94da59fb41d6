"""The queue's table on private servers, known to Django as the alias `queue`."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from tests.brokers.orm_database import create_table, registered
from tests.servers import MariaDB, PostgreSQL, missing

DRIVER_VARIABLE = "DJANGO_Q_TEST_MYSQL_DRIVER"
ENTRY_VARIABLE = "DJANGO_Q_TEST_MARIADB"

NAME = "queue"


def _load_driver() -> None:
    """A process has one MySQLdb: mysqlclient, or PyMySQL where the environment asks for it."""
    if os.environ.get(DRIVER_VARIABLE) == "pymysql":
        import pymysql

        # Django asks for a version of mysqlclient; PyMySQL says one that it no longer accepts.
        pymysql.version_info = (2, 2, 8, "final", 0)  # type: ignore[assignment]
        pymysql.install_as_MySQLdb()
        return
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        missing("mysqlclient is not installed: pip install mysqlclient")


@pytest.fixture(scope="session")
def queue_on_postgresql(
    postgresql: PostgreSQL, django_db_blocker: DjangoDbBlocker
) -> dict[str, Any]:
    """Return the settings of a PostgreSQL database that has the queue's table."""
    postgresql.create_database(NAME)
    entry = postgresql.settings(NAME)
    with django_db_blocker.unblock(), registered(entry) as alias:
        create_table(alias)
    return entry


@pytest.fixture(scope="session")
def queue_on_mariadb(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> dict[str, Any]:
    """Return the settings of a MariaDB database that has the queue's table."""
    _load_driver()
    if ENTRY_VARIABLE in os.environ:
        return dict(json.loads(os.environ[ENTRY_VARIABLE]))
    mariadb: MariaDB = request.getfixturevalue("mariadb")
    mariadb.create_database(NAME)
    entry = mariadb.settings(NAME)
    with django_db_blocker.unblock(), registered(entry) as alias:
        create_table(alias)
    return entry
