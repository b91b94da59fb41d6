"""A broker takes part in the caller's database transactions, or says that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import transaction

from django_q.brokers.base import Broker
from django_q_testkit.conformance.asked import asked
from django_q_testkit.conformance.bench import Bench, claim_now, claim_one, collect, texts


@contextmanager
def rolled_back(using: str) -> Iterator[None]:
    """A transaction that leaves no trace."""
    with transaction.atomic(using):
        yield
        transaction.set_rollback(True, using)


@pytest.mark.django_db(transaction=True)
class Transactions(Bench):
    """`is_transactional` and `commits_with`, both ways."""

    def test_a_rollback_takes_back_what_a_transactional_broker_enqueued(
        self, broker: Broker
    ) -> None:
        asked.about("is_transactional")
        with rolled_back(self.database):
            broker.enqueue("in doubt")

        found = texts(claim_now(broker))

        assert found == ([] if broker.is_transactional else ["in doubt"])

    def test_a_commit_delivers(self, broker: Broker) -> None:
        with transaction.atomic(self.database):
            broker.enqueue("decided")
            broker.enqueue_many(["too"])

        assert sorted(texts(collect(broker, 2))) == ["decided", "too"]

    def test_a_transactional_broker_commits_with_the_database(self, broker: Broker) -> None:
        asked.about("is_transactional")
        assert broker.commits_with(self.database) is broker.is_transactional

    def test_a_rollback_takes_back_an_acknowledgement_that_commits_with_it(
        self, broker: Broker
    ) -> None:
        if not broker.supports_receipts:
            pytest.skip(f"{type(broker).__name__} declares no supports_receipts")
        broker.enqueue("in doubt")
        delivery = claim_one(broker, self.lease)

        with rolled_back(self.database):
            broker.acknowledge_many([delivery.receipt])

        self.let_lapse(broker)
        expected = ["in doubt"] if broker.commits_with(self.database) else []
        assert texts(claim_now(broker)) == expected
