"""A subclass that overrides a 1.x method is heard by everything that uses the batch methods."""

from __future__ import annotations

import time
from typing import Any

from django_q.brokers.base import IDLE_SECONDS, Broker, Package
from django_q.conf import get_settings
from django_q_testkit.conformance.bench import (
    Bench,
    claim_now,
    claim_one,
    collect,
    needs,
    texts,
)


class Overrides(Bench):
    """What users of Django Q and Django Q2 did to adapt a broker."""

    def test_an_overridden_enqueue_sees_every_package(self, broker: Broker) -> None:
        class Labelling(type(broker)):  # type: ignore[misc]
            def enqueue(self, package: Package, **options: Any) -> Any:
                return super().enqueue(f"labelled {package!s}", **options)

        broker.__class__ = Labelling
        broker.enqueue_many(["a", "b"])

        assert sorted(texts(collect(broker, 2))) == ["labelled a", "labelled b"]

    def test_an_overridden_dequeue_sees_every_package(self, broker: Broker) -> None:
        class Opening(type(broker)):  # type: ignore[misc]
            def dequeue(self) -> Any:
                pairs = super().dequeue() or ()
                return [(receipt, f"opened {texts_of(package)}") for receipt, package in pairs]

        broker.enqueue("a")
        broker.__class__ = Opening

        assert texts(claim_now(broker)) == ["opened a"]

    def test_an_overridden_dequeue_keeps_the_key_of_a_package(self, broker: Broker) -> None:
        needs(broker, "supports_release")
        broker.enqueue("a")
        original = claim_one(broker)
        broker.release([original.receipt])

        class Same(type(broker)):  # type: ignore[misc]
            def dequeue(self) -> Any:
                return super().dequeue()

        broker.__class__ = Same

        assert [delivery.key for delivery in claim_now(broker)] == [original.key]

    def test_an_overridden_dequeue_that_returns_at_once_is_paced(self, broker: Broker) -> None:
        class Hasty(type(broker)):  # type: ignore[misc]
            answers = iter([None, [(None, "late")]])

            def dequeue(self) -> Any:
                return next(self.answers)

        broker.__class__ = Hasty
        began = time.monotonic()

        found = collect(broker, 1)

        assert texts(found) == ["late"]
        assert time.monotonic() - began >= min(get_settings().poll, IDLE_SECONDS) / 2

    def test_an_overridden_acknowledge_sees_every_receipt(self, broker: Broker) -> None:
        needs(broker, "supports_receipts")
        seen = []

        class Auditing(type(broker)):  # type: ignore[misc]
            def acknowledge(self, receipt: Any) -> Any:
                seen.append(receipt)
                return super().acknowledge(receipt)

        broker.enqueue("a")
        receipt = claim_one(broker, self.lease).receipt
        broker.__class__ = Auditing
        broker.acknowledge_many([receipt])

        assert seen == [receipt]
        self.let_lapse(broker)
        assert claim_now(broker) == []


def texts_of(package: Package) -> str:
    return package.decode() if isinstance(package, bytes) else package
