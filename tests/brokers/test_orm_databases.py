"""A cluster's database connections are patient with locks and know an outage when they see one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import DatabaseError, connections
from django.db.transaction import atomic
from pytest_django import DjangoDbBlocker

from django_q import databases
from django_q.models import OrmQ
from tests.brokers.orm_database import WAL, database, insert_like_django_q2, rolled_back, stranger


@pytest.fixture(params=[WAL, {}], ids=["wal", "rollback journal"])
def alias(
    request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    options = request.param
    with django_db_blocker.unblock(), database(tmp_path / "queue.sqlite3", **options) as alias:
        yield alias


def busy_timeout(alias: str) -> int:
    with connections[alias].cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        return int(cursor.fetchone()[0])


def insert(alias: str) -> OrmQ:
    return OrmQ.objects.using(alias).create(key="tests", payload="package")


class TestPreparedConnections:
    def test_they_do_not_wait_in_sqlite(self, alias: str) -> None:
        databases.prepare(alias)

        assert busy_timeout(alias) == 0

    def test_they_stay_so_when_they_reconnect(self, alias: str) -> None:
        databases.prepare(alias)
        databases.close(alias)

        assert busy_timeout(alias) == 0
        assert connections[alias].transaction_mode == "IMMEDIATE"

    def test_others_keep_what_the_site_set(self, alias: str) -> None:
        databases.transact(alias, lambda: insert(alias))

        assert busy_timeout(alias) == 5000
        assert connections[alias].transaction_mode is None

    def test_a_transaction_leaves_no_timeout_behind(self, alias: str) -> None:
        databases.prepare(alias)

        databases.transact(alias, lambda: insert(alias))

        assert busy_timeout(alias) == 0


class TestTransact:
    def test_it_tries_until_the_lock_is_free(
        self, alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        databases.prepare(alias)
        with stranger() as other:
            other.execute("BEGIN IMMEDIATE")
            insert_like_django_q2(other)
            monkeypatch.setattr(databases.time, "sleep", lambda seconds: other.execute("COMMIT"))

            databases.transact(alias, lambda: insert(alias))

        assert OrmQ.objects.using(alias).count() == 2

    def test_it_gives_up_when_its_patience_ends(self, alias: str) -> None:
        databases.prepare(alias)
        with stranger() as other:
            other.execute("BEGIN IMMEDIATE")

            with pytest.raises(DatabaseError) as caught:
                databases.transact(alias, lambda: insert(alias), patience=0.005)

        assert databases.is_busy(caught.value)
        assert not databases.is_connection_error(caught.value)

    def test_a_write_after_a_read_is_not_refused(self, alias: str) -> None:
        def read_then_write() -> None:
            OrmQ.objects.using(alias).count()
            insert(alias)

        databases.transact(alias, read_then_write)

        with stranger() as other:
            assert other.execute("SELECT COUNT(*) FROM django_q_ormq").fetchone() == (1,)

    def test_inside_a_transaction_it_joins_it(self, alias: str) -> None:
        with rolled_back(alias):
            databases.transact(alias, lambda: insert(alias))

        assert not OrmQ.objects.using(alias).exists()

    def test_an_error_in_the_data_is_raised_at_once(self, alias: str) -> None:
        tries = []

        def insert_twice() -> None:
            tries.append(1)
            row = insert(alias)
            OrmQ.objects.using(alias).create(id=row.pk, key="tests", payload="same id")

        with pytest.raises(DatabaseError) as caught:
            databases.transact(alias, insert_twice)

        assert len(tries) == 1
        assert not databases.is_busy(caught.value)
        assert not databases.is_connection_error(caught.value)


class TestOutages:
    def test_a_database_that_cannot_be_opened_is_one(self, alias: str, tmp_path: Path) -> None:
        connections[alias].close()
        connections[alias].settings_dict["NAME"] = str(tmp_path / "gone" / "queue.sqlite3")

        with pytest.raises(DatabaseError) as caught:
            insert(alias)

        assert databases.is_connection_error(caught.value)

    def test_a_connection_inside_a_transaction_is_not_closed(self, alias: str) -> None:
        with atomic(using=alias):
            databases.close(alias)
            insert(alias)

        assert OrmQ.objects.using(alias).count() == 1
