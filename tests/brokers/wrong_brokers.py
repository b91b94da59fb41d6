"""Brokers that break the contract, one promise each, and their runs of the suite.

pytest does not collect this file by itself: `test_wrong_brokers` runs it and wants failures.
"""

from __future__ import annotations

from typing import Any

from django_q.brokers.base import Broker, Delivery, Package
from django_q.brokers.memory import Memory
from django_q_testkit import BrokerConformance


class Right(Memory):
    """Breaks nothing: what failed here too would prove nothing about the others."""

    idle_seconds = 0.01


class Losing(Right):
    """Forgets every third package it is given."""

    def _add(self, package: Package, *options: Any) -> Any:
        entry = super()._add(package, *options)
        if entry.order % 3 == 0:
            self.connection.remove(entry.key)
        return entry


class Duplicating(Right):
    """Delivers every package twice."""

    def _add(self, package: Package, *options: Any) -> Any:
        super()._add(package, *options)
        return super()._add(package, *options)


class Reordering(Right):
    """Delivers the last of a batch first."""

    def _take(self, limit: int, lease: float) -> list[Delivery]:
        return super()._take(limit, lease)[::-1]


class ForgettingLeases(Right):
    """Never presents again what a dead cluster had claimed."""

    def _take(self, limit: int, lease: float) -> list[Delivery]:
        return super()._take(limit, 1e9)


class ForgettingExtensions(Right):
    """Says that it renewed a lease, and lets it end."""

    def extend(self, receipts: list[str], seconds: float) -> dict[str, str | None]:
        return dict.fromkeys(receipts) | {
            receipt: receipt for receipt in receipts if self.connection.find(receipt)
        }


class HonouringStaleReceipts(Right):
    """Lets anyone who ever claimed a package acknowledge, extend and release it."""

    def acknowledge_many(self, receipts: list[str]) -> list[str]:
        return super().acknowledge_many(self.renewed(receipts))

    def acknowledge(self, receipt: str) -> bool:
        return super().acknowledge(self.renewed([receipt])[0])

    def extend(self, receipts: list[str], seconds: float) -> dict[str, str | None]:
        return super().extend(self.renewed(receipts), seconds)

    def release(self, receipts: list[str], delay: float = 0, count: bool = False) -> list[str]:
        return super().release(self.renewed(receipts), delay, count)

    def renewed(self, receipts: list[str]) -> list[str]:
        entries = self.connection.entries
        keys = [self.key_of(receipt) for receipt in receipts]
        return [f"{key}.{entries[key].claim}" if key in entries else key for key in keys]


class LosingNeighbours(Right):
    """Clears lapsed work away, instead of presenting it again, when other work is extended."""

    def extend(self, receipts: list[str], seconds: float) -> dict[str, str | None]:
        extended = super().extend(receipts, seconds)
        with self.connection.changed:
            self.connection.promote()
            for entry in list(self.connection.entries.values()):
                if entry.claim and not entry.is_leased:
                    self.connection.remove(entry.key)
        return extended


class ForgivingLapses(Right):
    """Counts the lapses of a package anew once it was released."""

    def release(self, receipts: list[str], delay: float = 0, count: bool = False) -> list[str]:
        for receipt in receipts:
            if entry := self.connection.find(receipt):
                entry.lapses = 0
        return super().release(receipts, delay, count)


class ForgettingPriorities(Right):
    """Puts released packages among those of no priority."""

    def release(self, receipts: list[str], delay: float = 0, count: bool = False) -> list[str]:
        for receipt in receipts:
            if entry := self.connection.find(receipt):
                entry.priority = 0
        return super().release(receipts, delay, count)


class Misdeclaring(Right):
    """Declares nothing that it can do, and the one thing that it cannot."""

    supports_bulk = False
    supports_receipts = False
    supports_lease_renewal = False
    supports_release = False
    supports_delay = False
    supports_priority = False
    is_transactional = True


class TestRight(BrokerConformance):
    def make_broker(self, list_key: str) -> Broker:
        return Right(list_key)


class TestLosing(BrokerConformance):
    def make_broker(self, list_key: str) -> Broker:
        return Losing(list_key)


class TestDuplicating(BrokerConformance):
    def make_broker(self, list_key: str) -> Broker:
        return Duplicating(list_key)


class TestReordering(BrokerConformance):
    def make_broker(self, list_key: str) -> Broker:
        return Reordering(list_key)


class TestForgettingLeases(BrokerConformance):
    def make_broker(self, list_key: str) -> Broker:
        return ForgettingLeases(list_key)


class TestForgettingExtensions(BrokerConformance):
    def make_broker(self, list_key: str) -> Broker:
        return ForgettingExtensions(list_key)


class TestHonouringStaleReceipts(BrokerConformance):
    def make_broker(self, list_key: str) -> Broker:
        return HonouringStaleReceipts(list_key)


class TestLosingNeighbours(BrokerConformance):
    def make_broker(self, list_key: str) -> Broker:
        return LosingNeighbours(list_key)


class TestForgivingLapses(BrokerConformance):
    def make_broker(self, list_key: str) -> Broker:
        return ForgivingLapses(list_key)


class TestForgettingPriorities(BrokerConformance):
    def make_broker(self, list_key: str) -> Broker:
        return ForgettingPriorities(list_key)


class TestMisdeclaring(BrokerConformance):
    def make_broker(self, list_key: str) -> Broker:
        return Misdeclaring(list_key)
