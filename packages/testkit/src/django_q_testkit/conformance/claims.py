"""What is put in comes out: all of it, unchanged, in order, once."""

from __future__ import annotations

import time
from threading import Event

import pytest

from django_q.brokers.base import Broker, Delivery, Package
from django_q_testkit.conformance.asked import asked
from django_q_testkit.conformance.bench import (
    LONG,
    PATIENCE,
    Bench,
    MakeBroker,
    as_bytes,
    claim_now,
    claim_one,
    collect,
    enqueue,
    texts,
    threads,
)


class Claims(Bench):
    """Enqueue and claim, without regard to what happens afterwards."""

    def test_packages_come_in_the_order_of_their_enqueues(self, broker: Broker) -> None:
        if not self.keeps_order:
            pytest.skip("the server promises no order")
        sent = [f"package-{number}" for number in range(8)]
        enqueue(broker, *sent)

        assert texts(collect(broker, 8)) == sent

    def test_every_package_comes_once(self, broker: Broker) -> None:
        sent = [f"package-{number}" for number in range(20)]
        enqueue(broker, *sent)

        found = collect(broker, 20)

        assert sorted(texts(found)) == sorted(sent)
        assert claim_now(broker) == []

    def test_every_package_has_a_key_of_its_own(self, broker: Broker) -> None:
        enqueue(broker, "same", "same", "same")

        keys = [delivery.key for delivery in collect(broker, 3)]

        assert len(set(keys)) == 3
        assert all(isinstance(key, str) and key for key in keys)

    @pytest.mark.parametrize(
        "package",
        ["plain-text_.:", "Grüße, 世界 🚀", b"plain-bytes", "0123456789" * 10_000],
        ids=["text", "unicode", "bytes", "100kB"],
    )
    def test_a_package_arrives_unchanged(self, broker: Broker, package: Package) -> None:
        if isinstance(package, bytes) and not self.takes_bytes:
            pytest.skip("the broker takes text only")
        broker.enqueue(package)

        assert as_bytes(claim_one(broker).package) == as_bytes(package)

    def test_a_first_delivery_has_neither_lapses_nor_attempts(self, broker: Broker) -> None:
        broker.enqueue("new")

        delivery = claim_one(broker)

        assert (delivery.lapses, delivery.attempts) == (0, 0)

    def test_a_claim_brings_no_more_than_its_limit(self, broker: Broker) -> None:
        enqueue(broker, *"abcde")

        assert 1 <= len(broker.claim(2, LONG)) <= 2

    def test_one_claim_brings_several_where_bulk_is_supported(self, broker: Broker) -> None:
        enqueue(broker, *"abcde")

        count = len(broker.claim(5, LONG))
        asked.about("supports_bulk")

        assert count > 1 if broker.supports_bulk else count == 1

    def test_an_idle_claim_returns_empty_after_about_a_second(self, broker: Broker) -> None:
        began = time.monotonic()

        assert broker.claim(1, LONG) == []
        assert time.monotonic() - began < 5

    def test_a_waiting_claim_brings_what_arrives(self, new_broker: MakeBroker) -> None:
        about_to_claim = Event()

        def wait_for_work() -> list[Delivery]:
            broker = new_broker()
            about_to_claim.set()
            return collect(broker, 1)

        producer = new_broker()
        with threads(1) as start:
            waiting = start(wait_for_work)
            about_to_claim.wait(PATIENCE)
            producer.enqueue("at last")
            found = waiting.result(PATIENCE)

        assert texts(found) == ["at last"]

    def test_a_ringing_waker_keeps_no_work_back(self, broker: Broker) -> None:
        broker.enqueue("here")

        assert texts(claim_now(broker)) == ["here"]

    def test_two_claimers_never_share_a_package(self, new_broker: MakeBroker) -> None:
        sent = [f"package-{number}" for number in range(30)]
        enqueue(new_broker(), *sent)

        def claim_all() -> list[Delivery]:
            broker, found = new_broker(), list[Delivery]()
            while more := broker.claim(3, LONG):
                found += more
            return found

        with threads(2) as start:
            claimers = [start(claim_all), start(claim_all)]
            found = [delivery for claimer in claimers for delivery in claimer.result(PATIENCE)]

        assert sorted(texts(found)) == sorted(sent)

    def test_queues_of_other_names_stay_apart(self, new_broker: MakeBroker) -> None:
        broker, other = new_broker(), new_broker("conformance-other")
        broker.enqueue("mine")

        assert claim_now(other) == []
        assert texts(collect(broker, 1)) == ["mine"]

    def test_enqueue_many_keeps_the_order(self, broker: Broker) -> None:
        sent = [f"package-{number}" for number in range(12)]

        broker.enqueue_many(list(sent))

        found = texts(collect(broker, 12))
        assert (found if self.keeps_order else sorted(found, key=sent.index)) == sent

    def test_enqueue_many_returns_an_id_for_each(self, broker: Broker) -> None:
        assert len(broker.enqueue_many(["a", "b", "c"])) == 3

    def test_enqueue_many_of_nothing_is_nothing(self, broker: Broker) -> None:
        assert list(broker.enqueue_many([])) == []
        assert claim_now(broker) == []

    def test_async_task_is_another_name_of_enqueue(self, broker: Broker) -> None:
        broker.async_task("as the manual says")

        assert texts(collect(broker, 1)) == ["as the manual says"]

    def test_dequeue_brings_pairs_as_ever(self, broker: Broker) -> None:
        broker.enqueue("pair")

        pairs = list(broker.dequeue() or ())

        assert [as_bytes(package) for _receipt, package in pairs] == [b"pair"]
