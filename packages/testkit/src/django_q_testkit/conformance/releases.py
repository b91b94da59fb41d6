"""Work that is given back comes again when it should, with its count of attempts."""

from __future__ import annotations

from threading import Event

import pytest

from django_q.brokers.base import Broker, Delivery
from django_q.errors import UnsupportedByBroker
from django_q_testkit.conformance.asked import asked
from django_q_testkit.conformance.bench import (
    PATIENCE,
    Bench,
    MakeBroker,
    claim_now,
    claim_one,
    collect,
    enqueue,
    lacks,
    needs,
    threads,
)


class Releases(Bench):
    """`release`, now or later, counted or not."""

    def test_released_work_comes_back_at_once(self, new_broker: MakeBroker) -> None:
        broker, other = new_broker(), new_broker()
        needs(broker, "supports_release")
        broker.enqueue("unstarted")
        first = claim_one(broker)

        refused = broker.release([first.receipt])

        assert list(refused) == []
        second = claim_one(other)
        assert (second.key, second.package) == (first.key, first.package)

    def test_a_waiting_claim_brings_what_is_released(self, new_broker: MakeBroker) -> None:
        broker = new_broker()
        needs(broker, "supports_release")
        broker.enqueue("given back")
        held = claim_one(broker)
        about_to_claim = Event()

        def wait_for_work() -> list[Delivery]:
            other = new_broker()
            about_to_claim.set()
            return collect(other, 1)

        with threads(1) as start:
            waiting = start(wait_for_work)
            about_to_claim.wait(PATIENCE)
            broker.release([held.receipt])
            found = waiting.result(PATIENCE)

        assert [delivery.key for delivery in found] == [held.key]

    def test_a_release_is_neither_a_lapse_nor_an_attempt(self, broker: Broker) -> None:
        needs(broker, "supports_release", "counts_attempts")
        broker.enqueue("unstarted")
        broker.release([claim_one(broker).receipt])

        delivery = claim_one(broker)

        assert (delivery.lapses, delivery.attempts) == (0, 0)

    def test_released_work_waits_for_its_delay(self, broker: Broker) -> None:
        needs(broker, "supports_release")
        broker.enqueue("again later")
        delivery = claim_one(broker)

        broker.release([delivery.receipt], delay=self.lease)

        assert claim_now(broker) == []
        self.let_lapse(broker)
        assert claim_one(broker).key == delivery.key

    def test_each_counted_release_is_an_attempt(self, broker: Broker) -> None:
        needs(broker, "supports_release")
        asked.about("counts_attempts")
        broker.enqueue("failing")
        attempts = []
        for _round in range(3):
            delivery = claim_one(broker)
            attempts.append(delivery.attempts)
            broker.release([delivery.receipt], count=True)

        assert attempts == ([0, 1, 2] if broker.counts_attempts else [0, 0, 0])

    def test_attempts_survive_a_lapse(self, broker: Broker) -> None:
        needs(broker, "supports_release", "counts_attempts", "counts_lapses")
        broker.enqueue("failing")
        broker.release([claim_one(broker).receipt], count=True)
        claim_one(broker, self.lease)
        self.let_lapse(broker)

        delivery = claim_one(broker)

        assert (delivery.lapses, delivery.attempts) == (1, 1)

    def test_lapses_survive_a_release(self, broker: Broker) -> None:
        needs(broker, "supports_release", "counts_lapses")
        broker.enqueue("suspect")
        claim_one(broker, self.lease)
        self.let_lapse(broker)
        broker.release([claim_one(broker).receipt])

        assert claim_one(broker).lapses >= 1

    def test_several_are_released_together(self, broker: Broker) -> None:
        needs(broker, "supports_release")
        enqueue(broker, *"abc")
        found = collect(broker, 3)

        broker.release([delivery.receipt for delivery in found])

        assert {again.key for again in collect(broker, 3)} == {first.key for first in found}

    def test_the_receipt_of_released_work_is_void_once_it_is_claimed_again(
        self, new_broker: MakeBroker
    ) -> None:
        broker, other = new_broker(), new_broker()
        needs(broker, "supports_release")
        broker.enqueue("moved on")
        old = claim_one(broker)
        broker.release([old.receipt])
        new = claim_one(other, self.lease)

        refused = broker.acknowledge_many([old.receipt])

        assert list(refused) == [old.receipt]
        self.let_lapse(other)
        assert [delivery.key for delivery in collect(other, 1)] == [new.key]

    def test_releasing_twice_counts_once(self, broker: Broker) -> None:
        needs(broker, "supports_release", "counts_attempts")
        broker.enqueue("failing")
        receipt = claim_one(broker).receipt
        broker.release([receipt], count=True)

        broker.release([receipt], count=True)

        assert claim_one(broker).attempts == 1

    def test_acknowledged_work_cannot_be_released(self, broker: Broker) -> None:
        needs(broker, "supports_release")
        broker.enqueue("done")
        receipt = claim_one(broker).receipt
        broker.acknowledge_many([receipt])

        broker.release([receipt])

        assert claim_now(broker) == []

    def test_without_release_it_says_so(self, broker: Broker) -> None:
        lacks(broker, "supports_release")

        with pytest.raises(UnsupportedByBroker):
            broker.release(["receipt"])
