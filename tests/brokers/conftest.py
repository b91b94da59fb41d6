"""Servers of queues: a database known to Django as the alias `queue`, and Redis in every form."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker, Settings

from django_q.models import OrmQ
from django_q_broker_orm.broker import ORM
from tests import mongo_server, redis_servers, sqs_server
from tests.brokers.orm_database import create_table, registered
from tests.ironmq_server import IronMQ
from tests.servers import MariaDB, PostgreSQL, missing

DRIVER_VARIABLE = "DJANGO_Q_TEST_MYSQL_DRIVER"

NAME = "queue"

on_servers = pytest.mark.parametrize("entry", ["postgresql", "mariadb"], indirect=True)
on_postgresql = pytest.mark.parametrize("entry", ["postgresql"], indirect=True)


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
def queue_on_mariadb(mariadb: MariaDB, django_db_blocker: DjangoDbBlocker) -> dict[str, Any]:
    """Return the settings of a MariaDB database that has the queue's table."""
    _load_driver()
    mariadb.create_database(NAME)
    entry = mariadb.settings(NAME)
    with django_db_blocker.unblock(), registered(entry) as alias:
        create_table(alias)
    return entry


@pytest.fixture
def entry(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the settings of the database that a test is parametrised with."""
    found: dict[str, Any] = request.getfixturevalue(f"queue_on_{request.param}")
    return found


@pytest.fixture
def server(entry: dict[str, Any], request: pytest.FixtureRequest) -> Iterator[PostgreSQL | MariaDB]:
    """Yield the server of that database, which runs again after the test."""
    name = "postgresql" if "postgresql" in entry["ENGINE"] else "mariadb"
    server: PostgreSQL | MariaDB = request.getfixturevalue(name)
    yield server
    if server.process is None:
        server.start()


@pytest.fixture
def queue(
    entry: dict[str, Any], settings: Settings, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """Yield the alias of that database, whose queue is empty."""
    settings.Q_CLUSTER = {"name": "tests", "orm": "queue"}
    with django_db_blocker.unblock(), registered(entry) as alias:
        yield alias
        connections[alias].close()
        OrmQ.objects.using(alias).all().delete()


@pytest.fixture
def broker(queue: str) -> Iterator[ORM]:
    """Yield the broker of a process of a cluster on that queue."""
    broker = ORM()
    broker.join_cluster()
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def watched() -> Iterator[redis_servers.WatchedRedis]:
    """Yield a master, its replica and their Sentinels."""
    servers = redis_servers.WatchedRedis()
    servers.start()
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[redis_servers.RedisCluster]:
    """Yield three masters that share the slots."""
    servers = redis_servers.RedisCluster()
    servers.start()
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def valkey() -> Iterator[redis_servers.Valkey]:
    """Yield a Valkey."""
    server = redis_servers.Valkey()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def encrypted() -> Iterator[redis_servers.EncryptedRedis]:
    """Yield a server that speaks nothing but TLS."""
    server = redis_servers.EncryptedRedis()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def mongo() -> Iterator[mongo_server.AnyMongo]:
    """Yield a MongoDB, or what stands in for one, that says that it is a replica set."""
    with mongo_server.running() as server:
        yield server


@pytest.fixture(scope="session")
def ironmq() -> Iterator[IronMQ]:
    """Yield a stub of IronMQ."""
    server = IronMQ()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def sqs() -> Iterator[sqs_server.Sqs]:
    """Yield an SQS, whose clock whoever puts it forward sets right again."""
    server = sqs_server.Sqs()
    server.start()
    yield server
    server.close()
