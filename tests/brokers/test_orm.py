"""What only the ORM broker does: transactions, other writers of its table, several databases."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.db.transaction import atomic
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from django_q import databases
from django_q.models import OrmQ
from django_q_broker_orm.broker import ORM
from django_q_broker_orm.sqlite import READ
from django_q_broker_orm.table import Taken, Until, Wanted
from tests.brokers.orm_database import WAL, database, insert_like_django_q2, rolled_back, stranger

COMPARE_AND_SET = 'UPDATE django_q_ormq SET "lock" = ? WHERE id = ? AND "lock" = ?'


@pytest.fixture
def alias(tmp_path: Path, settings: Settings, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    settings.Q_CLUSTER = {"name": "tests", "orm": "queue"}
    with django_db_blocker.unblock(), database(tmp_path / "queue.sqlite3", **WAL) as alias:
        yield alias


@pytest.fixture
def broker(alias: str) -> Iterator[ORM]:
    broker = ORM()
    yield broker
    broker.close()


class TestTransactions:
    def test_an_enqueue_is_rolled_back_with_the_caller(self, broker: ORM, alias: str) -> None:
        with rolled_back(alias):
            broker.enqueue("package")

        assert broker.queue_size() == 0

    def test_an_enqueue_is_invisible_until_the_caller_commits(
        self, broker: ORM, alias: str
    ) -> None:
        with stranger() as other:
            count = "SELECT COUNT(*) FROM django_q_ormq"
            with atomic(using=alias):
                broker.enqueue("package")
                before = other.execute(count).fetchone()
            after = other.execute(count).fetchone()

        assert (before, after) == ((0,), (1,))

    def test_an_acknowledgement_commits_with_the_result(self, broker: ORM, alias: str) -> None:
        broker.enqueue("package")
        (delivery,) = broker.claim(1, 60)

        with rolled_back(alias):
            broker.acknowledge_many([delivery.receipt])

        assert broker.extend([delivery.receipt], 60) == {delivery.receipt: delivery.receipt}

    def test_it_commits_with_its_own_database_only(self, broker: ORM) -> None:
        assert broker.commits_with("queue")
        assert not broker.commits_with("default")

    def test_a_batch_returns_the_ids_of_its_rows_in_order(self, broker: ORM, alias: str) -> None:
        ids = broker.enqueue_many(["a", "b", "c"])

        rows = OrmQ.objects.using(alias).in_bulk(ids)
        assert [rows[row_id].payload for row_id in ids] == ["a", "b", "c"]

    def test_a_batch_of_nothing_touches_nothing(self, broker: ORM, alias: str) -> None:
        with CaptureQueriesContext(connections[alias]) as queries:
            ids = broker.enqueue_many([])

        assert ids == []
        assert len(queries) == 0


class TestBesideDjangoQ2:
    def test_a_row_of_an_old_producer_is_claimed(self, broker: ORM) -> None:
        with stranger() as other:
            insert_like_django_q2(other)

        (delivery,) = broker.claim(1, 60)

        assert (delivery.package, delivery.lapses, delivery.attempts) == ("old", 0, 0)

    def test_a_row_without_a_time_is_claimed(self, broker: ORM) -> None:
        with stranger() as other:
            insert_like_django_q2(other, lock=None)

        assert [delivery.package for delivery in broker.claim(1, 60)] == ["old"]

    def test_what_an_old_consumer_took_is_left_to_it(self, broker: ORM, alias: str) -> None:
        row_id = broker.enqueue("package")
        later = str(timezone.now() + timedelta(hours=1))[:-6]
        with stranger() as other:
            find = 'SELECT "lock" FROM django_q_ormq'
            (seen,) = other.execute(find).fetchone()
            taken = other.execute(COMPARE_AND_SET, (later, row_id, seen)).rowcount

        with atomic(using=alias):  # So that the claim does not wait.
            assert broker.claim(1, 60) == []
        assert taken == 1

    def test_an_old_consumer_cannot_take_what_is_claimed(self, broker: ORM) -> None:
        row_id = broker.enqueue("package")
        with stranger() as other:
            (seen,) = other.execute('SELECT "lock" FROM django_q_ormq').fetchone()
            broker.claim(1, 60)
            taken = other.execute(COMPARE_AND_SET, ("2099-01-01", row_id, seen)).rowcount

        assert taken == 0

    def test_a_bare_primary_key_acknowledges(self, broker: ORM) -> None:
        row_id = broker.enqueue("package")

        refused = broker.acknowledge_many([row_id])

        assert refused == []
        assert broker.queue_size() == 0

    def test_something_that_is_no_receipt_is_named(self, broker: ORM) -> None:
        with pytest.raises(ValueError, match=r"'nonsense' is no receipt of the ORM broker"):
            broker.acknowledge("nonsense")


class TestSubclasses:
    def test_an_overridden_timeout_decides_when_the_claim_ends(self, alias: str) -> None:
        class Patient(ORM):
            def timeout(self, task: OrmQ) -> datetime:
                return datetime(2099, 1, 1, tzinfo=timezone.get_default_timezone()) + timedelta(
                    days=len(task.payload)
                )

        broker = Patient()
        broker.enqueue_many(["a", "bb"])

        broker.claim(2, 60)

        ends = OrmQ.objects.using(alias).order_by("lock").values_list("payload", "lock__day")
        assert list(ends) == [("a", 2), ("bb", 3)]

    def test_an_overridden_dequeue_is_what_claims(self, alias: str) -> None:
        class Upper(ORM):
            def dequeue(self) -> list[tuple[Any, Any]] | None:
                found = super().dequeue()
                return found and [(receipt, str(payload).upper()) for receipt, payload in found]

        broker = Upper()
        row_id = broker.enqueue("package")

        (delivery,) = broker.claim(5, 60)

        assert (delivery.key, delivery.package) == (str(row_id), "PACKAGE")

    def test_an_overridden_delete_is_what_acknowledges(self, alias: str) -> None:
        class Noting(ORM):
            deleted: list[Any] = []

            def delete(self, receipt: Any) -> Any:
                self.deleted.append(receipt)
                return super().delete(receipt)

        broker = Noting()
        broker.enqueue("package")
        (delivery,) = broker.claim(1, 60)

        broker.acknowledge_many([delivery.receipt])

        assert Noting.deleted == [delivery.receipt]
        assert broker.lock_size() == 0

    def test_an_overridden_connection_chooses_the_database(
        self, alias: str, settings: Settings
    ) -> None:
        class Elsewhere(ORM):
            @staticmethod
            def get_connection(list_key: str | None = None) -> Any:
                return OrmQ.objects.using("queue")

        settings.Q_CLUSTER = {"name": "tests", "orm": "default"}

        broker = Elsewhere()

        assert broker.commits_with("queue")


class ReadsFromReplica:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "queue"


class TestSeveralDatabases:
    @pytest.fixture
    def empty_replica(self, tmp_path: Path, alias: str, settings: Settings) -> Iterator[str]:
        settings.DATABASE_ROUTERS = ["tests.brokers.test_orm.ReadsFromReplica"]
        with database(tmp_path / "replica.sqlite3", "replica") as replica:
            yield replica

    @pytest.mark.usefixtures("empty_replica")
    def test_reads_never_go_to_a_replica(self, broker: ORM) -> None:
        broker.enqueue("package")

        size = broker.queue_size()
        (delivery,) = broker.claim(1, 60)
        locked = broker.lock_size()
        extended = broker.extend([delivery.receipt], 60)
        refused = broker.acknowledge_many([delivery.receipt])

        assert (size, locked, refused) == (1, 1, [])
        assert extended == {delivery.receipt: delivery.receipt}

    @pytest.mark.usefixtures("empty_replica")
    def test_a_1x_connection_left_to_the_routers_is_the_one_for_writing(self) -> None:
        class Routed(ORM):
            @staticmethod
            def get_connection(list_key: str | None = None) -> Any:
                return OrmQ.objects.all()

        assert Routed().commits_with("queue")

    def test_times_are_kept_as_the_site_keeps_them(self, alias: str, settings: Settings) -> None:
        settings.USE_TZ = False
        settings.TIME_ZONE = "Pacific/Auckland"
        broker = ORM()
        broker.enqueue("now")
        broker.enqueue("later", available_at=datetime.now().astimezone() + timedelta(hours=1))

        delivered = [delivery.package for delivery in broker.claim(2, 60)]

        assert delivered == ["now"]
        assert broker.lock_size() == 2


class TestCosts:
    def test_a_claim_is_a_look_and_one_short_write(self, broker: ORM, alias: str) -> None:
        broker.enqueue_many(["package"] * 64)

        with CaptureQueriesContext(connections[alias]) as queries:
            claimed = broker.claim(64, 60)

        assert len(claimed) == 64
        verbs = [query["sql"].split()[0] for query in queries]
        assert verbs == ["WITH", "BEGIN", "SELECT", "UPDATE", "COMMIT"]

    def test_any_number_of_acknowledgements_is_one_statement(self, broker: ORM, alias: str) -> None:
        broker.enqueue_many(["package"] * 400)
        receipts = [delivery.receipt for delivery in broker.claim(400, 60)]

        with CaptureQueriesContext(connections[alias]) as queries:
            broker.acknowledge_many(receipts)

        assert [query["sql"].split()[0] for query in queries] == ["BEGIN", "DELETE", "COMMIT"]

    def test_finding_nothing_reads_once_and_writes_nothing(
        self, broker: ORM, alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_q_broker_orm.broker.LONGEST_WAIT_SECONDS", 0.05)

        with CaptureQueriesContext(connections[alias]) as queries:
            claimed = broker.claim(64, 60)

        assert claimed == []
        assert [query["sql"].split()[0] for query in queries] == ["WITH"]

    def test_delayed_packages_of_high_priority_are_not_waded_through(
        self, broker: ORM, alias: str
    ) -> None:
        broker.enqueue_many(
            ["later"] * 2000, priority=50, available_at=timezone.now() + timedelta(hours=1)
        )
        broker.enqueue("now")
        steps = 0

        def count_step() -> int:
            nonlocal steps
            steps += 1
            return 0

        connections[alias].connection.set_progress_handler(count_step, 1)
        claimed = broker.claim(1, 60)
        connections[alias].connection.set_progress_handler(None, 0)

        assert [delivery.package for delivery in claimed] == ["now"]
        assert steps < 1000  # of SQLite's virtual machine; each row looked at takes several

    def test_what_is_available_is_read_through_the_index(self, broker: ORM, alias: str) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {READ}", ("tests", 0, "2020-01-01", True, 1))
            (step,) = [row[3] for row in cursor.fetchall()]

        assert "django_q_ormq_key" in step
        assert "key=? AND priority=? AND lock<?" in step


class TestOutages:
    @pytest.fixture
    def back_from_outage(self, broker: ORM, monkeypatch: pytest.MonkeyPatch) -> ORM:
        """Return a broker whose database was away while one lease ended."""
        broker.enqueue_many(["lapsed", "fresh"])
        broker.claim(1, 0)
        monkeypatch.setattr(databases, "is_connection_error", lambda error: True)
        monkeypatch.setattr(broker._table, "due", fail)
        with pytest.raises(OperationalError):
            broker.claim(1, 60)
        monkeypatch.undo()
        return broker

    def test_lapsed_work_is_left_to_its_holder_for_a_while(self, back_from_outage: ORM) -> None:
        claimed = back_from_outage.claim(2, 60)

        assert [delivery.package for delivery in claimed] == ["fresh"]

    def test_lapsed_work_is_claimed_after_a_third_of_the_lease(self, back_from_outage: ORM) -> None:
        claimed = back_from_outage.claim(2, 0)

        assert [delivery.package for delivery in claimed] == ["fresh", "lapsed"]

    def test_what_was_claimed_before_the_error_is_not_lost(
        self, broker: ORM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker.enqueue("high", priority=1)
        broker.enqueue("low")
        take = broker._table.take

        def take_high_only(wanted: Wanted, until: Until, claim: int) -> list[Taken]:
            return take(wanted, until, claim) if wanted.priority else fail()

        monkeypatch.setattr(broker._table, "take", take_high_only)

        assert [delivery.package for delivery in broker.claim(2, 60)] == ["high"]


def fail(*args: Any) -> Any:
    raise OperationalError("the database went away")


class TestFencing:
    def test_a_superseded_receipt_is_refused_beside_the_one_that_counts(
        self, broker: ORM, alias: str
    ) -> None:
        broker.enqueue("package")
        (first,) = broker.claim(1, 0)
        (second,) = broker.claim(1, 60)

        refused = broker.acknowledge_many([first.receipt, second.receipt])

        assert refused == [first.receipt]
        assert second.lapses == 1


def claim_all(out: Any) -> None:
    """What a second cluster does: claim until nothing is left, and tell what it got."""
    databases.prepare("queue")
    broker = ORM()
    try:
        # In a transaction, so that the last claim does not wait.
        while claimed := databases.transact("queue", lambda: broker.claim(7, 60)):
            out.put([delivery.key for delivery in claimed])
    finally:
        out.put(None)


class TestSeveralClusters:
    def test_each_package_is_claimed_by_one(self, broker: ORM, alias: str) -> None:
        ids = broker.enqueue_many([f"package {number}" for number in range(200)])
        connections[alias].close()
        context = multiprocessing.get_context("fork")
        out = context.SimpleQueue()

        clusters = [context.Process(target=claim_all, args=(out,)) for _ in range(2)]
        for cluster in clusters:
            cluster.start()
        claimed, running = [], len(clusters)
        while running:
            keys = out.get()
            running -= keys is None
            claimed += keys or []
        for cluster in clusters:
            cluster.join()

        assert sorted(map(int, claimed)) == ids
