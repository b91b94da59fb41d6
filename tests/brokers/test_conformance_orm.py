"""The ORM broker keeps the contract: on SQLite in both journal modes, PostgreSQL, MariaDB."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models import F
from pytest_django import DjangoDbBlocker, Settings

from django_q.brokers.base import Broker
from django_q.models import OrmQ
from django_q_broker_orm.broker import ORM
from django_q_testkit import BrokerConformance
from tests.brokers.conftest import DRIVER_VARIABLE
from tests.brokers.orm_database import WAL, database


class OnDatabase(BrokerConformance):
    """The broker on the alias `queue`, as a cluster uses it."""

    database = "queue"

    def make_broker(self, list_key: str) -> Broker:
        broker = ORM(list_key)
        broker.join_cluster()
        return broker


class TestSQLite(OnDatabase):
    """A file database, so that several threads are several clusters."""

    @pytest.fixture(autouse=True, params=[WAL, {}], ids=["wal", "rollback journal"])
    def _queue(
        self,
        request: pytest.FixtureRequest,
        tmp_path: Path,
        settings: Settings,
        django_db_blocker: DjangoDbBlocker,
    ) -> Iterator[None]:
        settings.Q_CLUSTER = {"name": "tests", "orm": "queue"}
        options = request.param
        with django_db_blocker.unblock(), database(tmp_path / "queue.sqlite3", **options):
            yield

    def elapse(self, broker: Broker, seconds: float) -> None:
        """Move all times of the queue into the past instead of waiting."""
        for row in OrmQ.objects.using("queue").filter(key=broker.list_key):
            row.lock -= timedelta(seconds=seconds)
            row.save(using="queue", update_fields=["lock"])


class OnServer(OnDatabase):
    """A database of a server, which is moved into the past by one statement."""

    @pytest.fixture(autouse=True)
    def _queue(self, queue: str) -> None:
        pass

    def elapse(self, broker: Broker, seconds: float) -> None:
        rows = OrmQ.objects.using("queue").filter(key=broker.list_key)
        rows.update(lock=F("lock") - timedelta(seconds=seconds))


@pytest.mark.parametrize("entry", ["postgresql"], indirect=True)
class TestPostgreSQL(OnServer):
    """By psycopg 3."""


@pytest.mark.parametrize("entry", ["mariadb"], indirect=True)
class TestMariaDB(OnServer):
    """By mysqlclient, or by PyMySQL where `test_mariadb_by_pymysql` runs it."""


@pytest.mark.skipif(DRIVER_VARIABLE in os.environ, reason="this is that run")
def test_mariadb_by_pymysql() -> None:
    of_mariadb = [f"{__file__}::TestMariaDB", str(Path(__file__).with_name("test_orm_outages.py"))]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "mariadb", *of_mariadb],
        env=os.environ | {DRIVER_VARIABLE: "pymysql"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
