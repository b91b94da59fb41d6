"""The ORM broker keeps the contract: on SQLite in both journal modes, PostgreSQL, MariaDB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F
from pytest_django import DjangoDbBlocker, Settings

from django_q.brokers.base import Broker
from django_q.models import OrmQ
from django_q_broker_orm.broker import ORM
from django_q_testkit import BrokerConformance
from tests.brokers.conftest import DRIVER_VARIABLE, ENTRY_VARIABLE
from tests.brokers.orm_database import WAL, database, registered


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

    @contextmanager
    def registered(
        self, entry: dict[str, Any], settings: Settings, blocker: DjangoDbBlocker
    ) -> Iterator[None]:
        settings.Q_CLUSTER = {"name": "tests", "orm": "queue"}
        with blocker.unblock(), registered(entry):
            yield

    def elapse(self, broker: Broker, seconds: float) -> None:
        rows = OrmQ.objects.using("queue").filter(key=broker.list_key)
        rows.update(lock=F("lock") - timedelta(seconds=seconds))


class TestPostgreSQL(OnServer):
    @pytest.fixture(autouse=True)
    def _queue(
        self,
        queue_on_postgresql: dict[str, Any],
        settings: Settings,
        django_db_blocker: DjangoDbBlocker,
    ) -> Iterator[None]:
        with self.registered(queue_on_postgresql, settings, django_db_blocker):
            yield


class TestMariaDB(OnServer):
    """By mysqlclient, or by PyMySQL where `test_mariadb_by_pymysql` runs it."""

    @pytest.fixture(autouse=True)
    def _queue(
        self,
        queue_on_mariadb: dict[str, Any],
        settings: Settings,
        django_db_blocker: DjangoDbBlocker,
    ) -> Iterator[None]:
        with self.registered(queue_on_mariadb, settings, django_db_blocker):
            yield


@pytest.mark.skipif(DRIVER_VARIABLE in os.environ, reason="this is that run")
def test_mariadb_by_pymysql(queue_on_mariadb: dict[str, Any]) -> None:
    chosen = {DRIVER_VARIABLE: "pymysql", ENTRY_VARIABLE: json.dumps(queue_on_mariadb)}

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"{__file__}::TestMariaDB",
        ],
        env=os.environ | chosen,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
