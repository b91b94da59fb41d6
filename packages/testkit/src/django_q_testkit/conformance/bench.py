"""What every part of the suite works with: brokers of one queue, time, and threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

import pytest
from django.db import connections

from django_q.brokers.base import Broker, Delivery, Package
from django_q_testkit.conformance.asked import asked

LONG = 60.0
"""A lease that ends in no test unless it is made to."""

PATIENCE = 20.0
"""Seconds after which a thread of a test is given up."""

T = TypeVar("T")
MakeBroker = Callable[..., Broker]


class Bench:
    """The part of the suite that a broker's author may have to fill in or to adjust."""

    lease = 1.0
    """The lease in seconds that tests let end; brokers with coarser ones set more."""
    keeps_order = True
    """Does the server deliver in the order of the enqueues? (SQS's standard queues do not.)"""
    accepts_late_receipts = True
    """Is a receipt good until another claim supersedes it, although its lease has ended?"""
    lease_is_fixed = False
    """Does the server fix each lease at the enqueue, at `lease` seconds, whatever `claim` and
    `extend` ask for? (Disque does.)"""
    takes_bytes = True
    """Does `enqueue` take bytes too? (1.x only ever gave text.)"""
    tells_lock_size = True
    """Does the server tell how many packages are claimed? (IronMQ does not.)"""
    sequences = 20
    """How many random sequences of steps are tried."""
    database = "default"
    """The alias whose transactions an `is_transactional` broker takes part in."""

    def make_broker(self, list_key: str) -> Broker:
        """A new broker object, with a connection of its own, on the queue of this name."""
        raise NotImplementedError(
            f"{type(self).__name__}.make_broker(list_key) is missing: return a new broker object "
            "for the queue of that name, e.g. `return MyBroker(list_key)`."
        )

    def elapse(self, broker: Broker, seconds: float) -> None:
        """Let time pass at the broker: by its `advance(seconds)`, else by waiting."""
        advance = getattr(broker, "advance", time.sleep)
        advance(seconds)

    @pytest.fixture
    def new_broker(self) -> Iterator[MakeBroker]:
        """Make broker objects on the test's own queue, or on one that is named."""
        own_key = f"conformance-{uuid4().hex[:12]}"
        made: dict[str, list[Broker]] = {}

        def make(list_key: str = own_key) -> Broker:
            broker = self.make_broker(list_key)
            asked.made(broker)
            made.setdefault(list_key, []).append(broker)
            return broker

        yield make
        for brokers in made.values():
            brokers[0].delete_queue()
            for broker in brokers:
                broker.close()

    @pytest.fixture
    def broker(self, new_broker: MakeBroker) -> Broker:
        """Return a broker on an empty queue that no other test uses."""
        return new_broker()

    def let_lapse(self, broker: Broker) -> None:
        """Let a lease of `self.lease` seconds end."""
        self.elapse(broker, self.lease * 1.1)


def needs(broker: Broker, *capabilities: str) -> None:
    """Skip the test unless the broker declares all of these."""
    asked.about(*capabilities)
    for capability in capabilities:
        if not getattr(broker, capability):
            pytest.skip(f"{type(broker).__name__} declares no {capability}")


def lacks(broker: Broker, capability: str) -> None:
    """Skip the test if the broker declares this."""
    asked.about(capability)
    if getattr(broker, capability):
        pytest.skip(f"{type(broker).__name__} declares {capability}")


def enqueue(broker: Broker, *packages: Package) -> None:
    for package in packages:
        broker.enqueue(package)


def collect(broker: Broker, expected: int, lease: float = LONG) -> list[Delivery]:
    """Claim until so many have come or a whole claim brings nothing."""
    found: list[Delivery] = []
    while len(found) < expected and (more := broker.claim(expected - len(found), lease)):
        found += more
    return found


def claim_one(broker: Broker, lease: float = LONG) -> Delivery:
    """The one package that a claim must bring."""
    found = broker.claim(1, lease)
    assert len(found) == 1, f"one package should come, not {len(found)}"
    return found[0]


def claim_now(broker: Broker, limit: int = 10, lease: float = LONG) -> list[Delivery]:
    """What can be claimed at this moment; a broker that honours its waker does not wait."""
    with ringing(broker):
        return broker.claim(limit, lease)


@contextmanager
def ringing(broker: Broker) -> Iterator[None]:
    """Let the broker's waker ring all the while."""
    reader, writer = os.pipe()
    os.write(writer, b"!")
    broker.waker = reader
    try:
        yield
    finally:
        broker.waker = None
        os.close(reader)
        os.close(writer)


def texts(deliveries: list[Delivery]) -> list[str]:
    """The packages as text: a server may hand bytes back for text and text for bytes."""
    return [as_bytes(delivery.package).decode() for delivery in deliveries]


def as_bytes(package: Package) -> bytes:
    return package.encode() if isinstance(package, str) else bytes(package)


def ahead(seconds: float) -> datetime:
    """The time so many seconds from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


@contextmanager
def threads(count: int) -> Iterator[Callable[[Callable[[], T]], Future[T]]]:
    """Run functions in threads, each of which closes the database connections it opened."""

    def closing(function: Callable[[], T]) -> T:
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        yield lambda function: pool.submit(closing, function)
