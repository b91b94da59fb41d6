"""Delays, priorities and sizes hold where they are declared and are refused where not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_q.brokers.base import Broker
from django_q.errors import UnsupportedByBroker
from django_q_testkit.conformance.asked import asked
from django_q_testkit.conformance.bench import (
    Bench,
    ahead,
    claim_now,
    claim_one,
    collect,
    lacks,
    needs,
    texts,
)

YEAR = timedelta(days=365).total_seconds()


class Options(Bench):
    """What `enqueue` can be asked for beside the package."""

    # Priority

    def test_higher_priorities_come_first(self, broker: Broker) -> None:
        needs(broker, "supports_priority")
        for priority in (0, -100, 100, 7):
            broker.enqueue(f"priority {priority}", priority=priority)

        assert texts(collect(broker, 4)) == [
            "priority 100",
            "priority 7",
            "priority 0",
            "priority -100",
        ]

    def test_no_priority_is_priority_0(self, broker: Broker) -> None:
        needs(broker, "supports_priority")
        broker.enqueue("below", priority=-1)
        broker.enqueue("middle")
        broker.enqueue("above", priority=1)

        assert texts(collect(broker, 3)) == ["above", "middle", "below"]

    def test_equal_priorities_keep_their_order(self, broker: Broker) -> None:
        needs(broker, "supports_priority")
        sent = [f"package-{number}" for number in range(6)]

        broker.enqueue_many(list(sent), priority=5)

        found = texts(collect(broker, 6))
        assert (found if self.keeps_order else sorted(found, key=sent.index)) == sent

    def test_priority_survives_a_lapse(self, broker: Broker) -> None:
        needs(broker, "supports_priority", "supports_receipts")
        broker.enqueue("urgent", priority=9)
        claim_one(broker, self.lease)
        broker.enqueue("usual")
        self.let_lapse(broker)

        assert texts(collect(broker, 2)) == ["urgent", "usual"]

    def test_without_priorities_asking_for_one_says_so(self, broker: Broker) -> None:
        lacks(broker, "supports_priority")

        with pytest.raises(UnsupportedByBroker):
            broker.enqueue_many(["urgent"], priority=1)

        assert claim_now(broker) == []

    # Delay

    def test_delayed_work_waits_for_its_time(self, broker: Broker) -> None:
        needs(broker, "supports_delay")
        broker.enqueue("later", available_at=ahead(self.lease))
        broker.enqueue("now")

        assert texts(claim_now(broker)) == ["now"]
        self.let_lapse(broker)
        assert texts(collect(broker, 1)) == ["later"]

    def test_a_delay_is_not_a_lapse(self, broker: Broker) -> None:
        needs(broker, "supports_delay")
        broker.enqueue("later", available_at=ahead(self.lease))
        self.let_lapse(broker)

        delivery = claim_one(broker)

        assert (delivery.lapses, delivery.attempts) == (0, 0)

    def test_what_was_due_in_the_past_comes_at_once(self, broker: Broker) -> None:
        needs(broker, "supports_delay")

        broker.enqueue("overdue", available_at=ahead(-YEAR))

        assert texts(collect(broker, 1)) == ["overdue"]

    def test_enqueue_many_delays_all(self, broker: Broker) -> None:
        needs(broker, "supports_delay")

        broker.enqueue_many(["a", "b"], available_at=ahead(self.lease))

        assert claim_now(broker) == []
        self.let_lapse(broker)
        assert sorted(texts(collect(broker, 2))) == ["a", "b"]

    def test_the_longest_delay_is_the_declared_one(self, broker: Broker) -> None:
        needs(broker, "supports_delay")
        asked.about("max_delay")
        if broker.max_delay is None:
            broker.enqueue_many(["next year"], available_at=ahead(YEAR))
        else:
            with pytest.raises(UnsupportedByBroker):
                broker.enqueue_many(["too late"], available_at=ahead(broker.max_delay + 60))

        assert claim_now(broker) == []

    def test_without_delays_asking_for_one_says_so(self, broker: Broker) -> None:
        lacks(broker, "supports_delay")

        with pytest.raises(UnsupportedByBroker):
            broker.enqueue_many(["later"], available_at=ahead(60))

        assert claim_now(broker) == []

    # Size

    def test_the_largest_package_is_the_declared_one(self, broker: Broker) -> None:
        asked.about("max_package_bytes")
        size = broker.max_package_bytes or 1_000_000
        broker.enqueue_many(["x" * size])

        assert len(claim_one(broker).package) == size

    def test_a_larger_package_than_declared_is_refused(self, broker: Broker) -> None:
        asked.about("max_package_bytes")
        if broker.max_package_bytes is None:
            pytest.skip(f"{type(broker).__name__} declares no max_package_bytes")

        with pytest.raises(UnsupportedByBroker, match=str(broker.max_package_bytes)):
            broker.enqueue_many(["x" * (broker.max_package_bytes + 1)])

        assert claim_now(broker) == []
