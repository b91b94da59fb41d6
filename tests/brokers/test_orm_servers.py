"""What only servers can get wrong: statements, order in large batches, races for a row."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.transaction import atomic
from django.test.utils import CaptureQueriesContext

from django_q_broker_orm.broker import ORM
from tests.brokers.conftest import NAME, on_postgresql, on_servers
from tests.brokers.orm_database import Background
from tests.servers import MariaDB, PostgreSQL

BLOCKED = {
    PostgreSQL: "SELECT count(*) FROM pg_locks WHERE NOT granted",
    MariaDB: "SELECT count(*) FROM information_schema.innodb_lock_waits",
}


def verbs(queries: CaptureQueriesContext) -> list[str]:
    return [str(query["sql"]).split()[0] for query in queries]


@on_postgresql
class TestCostsOnPostgreSQL:
    def test_everything_is_one_statement_but_a_claim_looks_first(
        self, broker: ORM, queue: str
    ) -> None:
        broker.enqueue_many(["package"] * 10)
        receipts = [delivery.receipt for delivery in broker.claim(10, 60)]

        with CaptureQueriesContext(connections[queue]) as queries:
            broker.enqueue("package")
            broker.enqueue_many(["package"] * 500)
            broker.claim(500, 60)
            broker.extend(receipts, 60)
            broker.release(receipts[:5])
            broker.acknowledge_many(receipts[5:])

        assert verbs(queries) == ["WITH", "WITH", "WITH", "WITH", "WITH", "WITH", "DELETE"]

    def test_an_acknowledgement_joins_the_transaction_of_the_results(
        self, broker: ORM, queue: str
    ) -> None:
        broker.enqueue_many(["package"] * 10)
        receipts = [delivery.receipt for delivery in broker.claim(10, 60)]

        with CaptureQueriesContext(connections[queue]) as queries, atomic(using=queue):
            broker.acknowledge_many(receipts)

        assert verbs(queries) == ["BEGIN", "DELETE", "COMMIT"]


@on_servers
class TestLargeBatches:
    @pytest.mark.parametrize("delay", [None, timedelta(hours=-1)], ids=["now", "at one time"])
    def test_they_keep_their_order(self, broker: ORM, delay: timedelta | None) -> None:
        sent = [str(number) for number in range(2300)]
        options = {} if delay is None else {"available_at": datetime.now(UTC) + delay}

        ids = broker.enqueue_many(list(sent), **options)

        claimed = broker.claim(900, 60) + broker.claim(900, 60) + broker.claim(900, 60)
        assert [delivery.package for delivery in claimed] == sent
        assert [delivery.key for delivery in claimed] == [str(row_id) for row_id in ids]


@on_servers
class TestRaces:
    """Somebody claims a row anew while its old receipt is used: the new claim wins."""

    @pytest.fixture
    def settle_late(
        self, broker: ORM, queue: str, server: PostgreSQL | MariaDB
    ) -> Callable[[Callable[[ORM, Any], Any]], Any]:
        """Settle an old receipt while another's claim is not committed yet."""
        broker.enqueue("contested")
        (old,) = broker.claim(1, 0)

        def settle_late(settle: Callable[[ORM, Any], Any]) -> Any:
            with atomic(using=queue):
                (new,) = broker.claim(1, 60)
                settling = Background(lambda: settle(ORM(), old.receipt))
                wait_until(lambda: server.query(NAME, BLOCKED[type(server)]) != [(0,)])
            outcome = settling.outcome()
            assert broker.extend([new.receipt], 60) == {new.receipt: new.receipt}
            return outcome == [old.receipt]

        return settle_late

    def test_an_acknowledgement_is_refused(self, settle_late: Any) -> None:
        assert settle_late(lambda broker, receipt: broker.acknowledge_many([receipt]))

    def test_a_release_is_refused(self, settle_late: Any) -> None:
        assert settle_late(lambda broker, receipt: broker.release([receipt]))


@on_servers
def test_a_renewal_never_waits_for_who_settles(broker: ORM, queue: str) -> None:
    broker.enqueue_many(["settled", "runs"])
    settled, runs = (delivery.receipt for delivery in broker.claim(2, 60))

    with atomic(using=queue):
        broker.acknowledge_many([settled])
        renewing = Background(lambda: ORM().extend([settled, runs], 60))
        extended = renewing.outcome()

    assert extended == {settled: settled, runs: runs}


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("nobody waits for the row")
