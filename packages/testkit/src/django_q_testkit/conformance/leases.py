"""A claim holds for its lease, comes back after it, and ends with its acknowledgement."""

from __future__ import annotations

import pytest

from django_q.brokers.base import Broker, Delivery
from django_q.errors import UnsupportedByBroker
from django_q_testkit.conformance.asked import asked
from django_q_testkit.conformance.bench import (
    LONG,
    Bench,
    MakeBroker,
    claim_now,
    claim_one,
    collect,
    enqueue,
    lacks,
    needs,
    texts,
)


class Leases(Bench):
    """Receipts, lapses, acknowledgements, renewals and what a superseded receipt may not do."""

    def supersede(self, first: Broker, second: Broker, lease: float) -> tuple[Delivery, Delivery]:
        """Let one claim lapse and another take the package: the old delivery and the new."""
        first.enqueue("contested")
        old = claim_one(first, self.lease)
        self.let_lapse(first)
        return old, claim_one(second, lease)

    # Lapses

    def test_unacknowledged_work_comes_back_when_its_lease_ends(self, broker: Broker) -> None:
        needs(broker, "supports_receipts")
        broker.enqueue("precious")
        first = claim_one(broker, self.lease)

        self.let_lapse(broker)
        second = claim_one(broker)

        assert (second.key, second.package) == (first.key, first.package)
        assert second.receipt != first.receipt or not self.accepts_late_receipts

    def test_each_lapse_is_counted(self, broker: Broker) -> None:
        needs(broker, "supports_receipts")
        asked.about("counts_lapses")
        broker.enqueue("pill")
        lapses = []
        for _round in range(3):
            lapses.append(claim_one(broker, self.lease).lapses)
            self.let_lapse(broker)

        assert lapses == ([0, 1, 2] if broker.counts_lapses else [0, 0, 0])

    def test_without_receipts_nothing_comes_back(self, broker: Broker) -> None:
        lacks(broker, "supports_receipts")
        broker.enqueue("once")
        claim_one(broker, self.lease)

        self.let_lapse(broker)

        assert claim_now(broker) == []

    def test_claimed_work_is_nobody_elses_while_its_lease_lasts(
        self, new_broker: MakeBroker
    ) -> None:
        broker, other = new_broker(), new_broker()
        enqueue(broker, "a", "b")
        collect(broker, 2)

        assert claim_now(other) == []

    # Acknowledgements

    def test_acknowledged_work_never_comes_back(self, broker: Broker) -> None:
        needs(broker, "supports_receipts")
        broker.enqueue("done")
        delivery = claim_one(broker, self.lease)

        broker.acknowledge(delivery.receipt)

        self.let_lapse(broker)
        assert claim_now(broker) == []

    def test_acknowledge_many_ends_every_claim_it_is_given(self, broker: Broker) -> None:
        needs(broker, "supports_receipts")
        enqueue(broker, *"abcd")
        found = collect(broker, 4, self.lease)
        kept = found.pop()

        refused = broker.acknowledge_many([delivery.receipt for delivery in found])

        self.let_lapse(broker)
        assert list(refused) == []
        assert [delivery.key for delivery in collect(broker, 4)] == [kept.key]

    def test_acknowledging_twice_is_harmless(self, broker: Broker) -> None:
        needs(broker, "supports_receipts")
        enqueue(broker, "a", "b")
        receipts = [delivery.receipt for delivery in collect(broker, 2, self.lease)]

        broker.acknowledge_many(receipts)
        broker.acknowledge_many(receipts)
        broker.acknowledge(receipts[0])

        self.let_lapse(broker)
        assert claim_now(broker) == []

    def test_acknowledge_many_of_nothing_is_nothing(self, broker: Broker) -> None:
        assert list(broker.acknowledge_many([])) == []

    def test_a_dequeued_receipt_can_be_acknowledged(self, broker: Broker) -> None:
        needs(broker, "supports_receipts")
        broker.enqueue("as in 1.x")
        [(receipt, _package)] = list(broker.dequeue() or ())

        broker.acknowledge(receipt)

        assert (broker.queue_size(), broker.lock_size()) == (0, 0)

    def test_failed_work_never_comes_back(self, broker: Broker) -> None:
        broker.enqueue("broken")
        delivery = claim_one(broker, self.lease)

        broker.fail(delivery.receipt)

        self.let_lapse(broker)
        assert claim_now(broker) == []

    def test_deleted_work_never_comes_back(self, broker: Broker) -> None:
        needs(broker, "supports_receipts")
        broker.enqueue("unwanted")
        delivery = claim_one(broker, self.lease)

        broker.delete(delivery.receipt)

        self.let_lapse(broker)
        assert claim_now(broker) == []

    def test_a_late_acknowledgement_counts_while_nobody_else_has_claimed(
        self, broker: Broker
    ) -> None:
        needs(broker, "supports_receipts")
        self.needs_late_receipts()
        broker.enqueue("slow")
        delivery = claim_one(broker, self.lease)
        self.let_lapse(broker)

        refused = broker.acknowledge_many([delivery.receipt])

        assert list(refused) == []
        assert claim_now(broker) == []

    # Renewals

    def test_extended_work_stays_claimed(self, broker: Broker) -> None:
        needs(broker, "supports_lease_renewal")
        broker.enqueue("long")
        delivery = claim_one(broker, self.lease)
        if self.lease_is_fixed:
            self.elapse(broker, self.lease * 0.6)

        broker.extend([delivery.receipt], LONG)

        self.elapse(broker, self.lease * (0.6 if self.lease_is_fixed else 1.1))
        assert claim_now(broker) == []

    def test_an_extension_ends_too(self, broker: Broker) -> None:
        needs(broker, "supports_lease_renewal")
        broker.enqueue("long")
        delivery = claim_one(broker, LONG)

        broker.extend([delivery.receipt], self.lease)

        self.let_lapse(broker)
        assert claim_one(broker).key == delivery.key

    def test_extend_answers_with_the_receipt_that_counts_from_now_on(self, broker: Broker) -> None:
        needs(broker, "supports_lease_renewal")
        enqueue(broker, "a", "b")
        old = [delivery.receipt for delivery in collect(broker, 2, self.lease)]

        extended = broker.extend(old, LONG)

        assert set(extended) == set(old)
        broker.acknowledge_many([extended[receipt] for receipt in old])
        assert broker.lock_size() == 0

    def test_extended_work_has_not_lapsed(self, broker: Broker) -> None:
        needs(broker, "supports_lease_renewal", "counts_lapses")
        broker.enqueue("long")
        delivery = claim_one(broker, LONG)
        broker.extend([delivery.receipt], self.lease)
        self.let_lapse(broker)

        assert claim_one(broker).lapses == 1

    def test_acknowledged_work_cannot_be_extended(self, broker: Broker) -> None:
        needs(broker, "supports_lease_renewal")
        broker.enqueue("done")
        receipt = claim_one(broker).receipt
        broker.acknowledge_many([receipt])

        assert broker.extend([receipt], LONG) == {receipt: None}

    def test_a_late_extension_counts_while_nobody_else_has_claimed(self, broker: Broker) -> None:
        needs(broker, "supports_lease_renewal")
        self.needs_late_receipts()
        broker.enqueue("cut off for a while")
        receipt = claim_one(broker, self.lease).receipt
        self.let_lapse(broker)

        extended = broker.extend([receipt], LONG)

        assert extended[receipt] is not None
        assert claim_now(broker) == []

    def test_extend_of_nothing_is_nothing(self, broker: Broker) -> None:
        needs(broker, "supports_lease_renewal")

        assert broker.extend([], LONG) == {}

    def test_without_lease_renewal_extend_says_so(self, broker: Broker) -> None:
        lacks(broker, "supports_lease_renewal")

        with pytest.raises(UnsupportedByBroker):
            broker.extend(["receipt"], LONG)

    # Superseded receipts

    def test_a_superseded_receipt_does_not_acknowledge(self, new_broker: MakeBroker) -> None:
        first, second = new_broker(), new_broker()
        needs(first, "supports_receipts")
        old, new = self.supersede(first, second, self.lease)

        refused = first.acknowledge_many([old.receipt])

        assert list(refused) == [old.receipt]
        self.let_lapse(second)
        assert [delivery.key for delivery in collect(second, 1)] == [new.key]

    def test_a_superseded_receipt_does_not_acknowledge_in_the_1x_way(
        self, new_broker: MakeBroker
    ) -> None:
        first, second = new_broker(), new_broker()
        needs(first, "supports_receipts")
        old, new = self.supersede(first, second, self.lease)

        first.acknowledge(old.receipt)

        self.let_lapse(second)
        assert [delivery.key for delivery in collect(second, 1)] == [new.key]

    def test_a_superseded_receipt_does_not_extend(self, new_broker: MakeBroker) -> None:
        first, second = new_broker(), new_broker()
        needs(first, "supports_receipts", "supports_lease_renewal")
        old, new = self.supersede(first, second, self.lease)

        extended = first.extend([old.receipt], LONG)

        assert extended == {old.receipt: None}
        self.let_lapse(second)
        assert [delivery.key for delivery in collect(second, 1)] == [new.key]

    def test_a_superseded_receipt_does_not_release(self, new_broker: MakeBroker) -> None:
        first, second = new_broker(), new_broker()
        needs(first, "supports_receipts", "supports_release")
        old, _new = self.supersede(first, second, LONG)

        refused = first.release([old.receipt])

        assert list(refused) == [old.receipt]
        assert claim_now(second) == []

    def test_a_superseded_receipt_does_not_spoil_its_neighbours(
        self, new_broker: MakeBroker
    ) -> None:
        first, second = new_broker(), new_broker()
        needs(first, "supports_receipts")
        old, _new = self.supersede(first, second, LONG)
        first.enqueue("neighbour")
        neighbour = claim_one(first, self.lease)

        refused = first.acknowledge_many([old.receipt, neighbour.receipt])

        assert list(refused) == [old.receipt]
        self.let_lapse(first)
        assert "neighbour" not in texts(claim_now(first))

    def needs_late_receipts(self) -> None:
        if not self.accepts_late_receipts:
            pytest.skip("the server voids a receipt when its lease ends")
