"""The ORM broker on SQLite keeps the contract, in both journal modes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker, Settings

from django_q.brokers.base import Broker
from django_q.models import OrmQ
from django_q_broker_orm.broker import ORM
from django_q_testkit import BrokerConformance
from tests.brokers.orm_database import WAL, database


class TestORM(BrokerConformance):
    """A file database, so that several threads are several clusters."""

    database = "queue"

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

    def make_broker(self, list_key: str) -> Broker:
        return ORM(list_key)

    def elapse(self, broker: Broker, seconds: float) -> None:
        """Move all times of the queue into the past instead of waiting."""
        for row in OrmQ.objects.using("queue").filter(key=broker.list_key):
            row.lock -= timedelta(seconds=seconds)
            row.save(using="queue", update_fields=["lock"])
