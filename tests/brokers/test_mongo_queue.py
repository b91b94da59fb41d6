"""What the MongoDB broker keeps in a collection, how it is ordered, and what wakes a claim."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings

from django_q.brokers import get_broker
from django_q.errors import TaskRefused, UnsupportedByBroker
from django_q_broker_mongo import broker as module
from django_q_broker_mongo.broker import Mongo
from django_q_broker_mongo.connection import client_of
from django_q_broker_mongo.documents import ORDER, LeasedDocuments
from django_q_broker_mongo.waiting import Waiter, Woken
from tests.mongo_server import AnyMongo

RETRY = 60

LONG = 30.0
"""Seconds that a claim would wait if nothing woke it."""


@pytest.fixture
def broker(mongo: AnyMongo, settings: Settings) -> Iterator[Mongo]:
    """Yield a broker on a queue of the test's own."""
    settings.Q_CLUSTER = {"name": "tests", "mongo": mongo.settings(), "retry": RETRY}
    broker = Mongo(f"tests-{uuid4().hex[:12]}")
    yield broker
    broker.delete_queue()
    broker.close()


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def packages(broker: Mongo, limit: int = 10) -> list[Any]:
    return [delivery.package for delivery in broker.claim(limit, RETRY)]


# Beside Django Q2


def test_documents_of_django_q2_are_claimed_in_their_turn(broker: Mongo) -> None:
    broker.enqueue("above", priority=1)
    broker.enqueue("below", priority=-1)
    broker.collection.insert_one({"payload": "theirs", "lock": ago(RETRY + 5)})
    broker.enqueue("ours")

    assert packages(broker) == ["above", "theirs", "ours", "below"]


def test_what_a_worker_of_django_q2_has_claimed_is_left_to_it(broker: Mongo) -> None:
    broker.collection.insert_one({"payload": "theirs", "lock": ago(0)})

    assert (broker.queue_size(), broker.lock_size()) == (0, 1)


def test_an_ordinary_task_is_a_document_that_django_q2_would_claim(broker: Mongo) -> None:
    broker.enqueue("ours")

    (document,) = broker.collection.find()
    assert document.keys() == {"_id", "payload", "lock"}
    assert document["payload"] == "ours"
    assert document["lock"] <= ago(RETRY)


def test_what_we_have_claimed_seems_claimed_to_django_q2_until_its_lease_ends(
    broker: Mongo,
) -> None:
    broker.enqueue("ours")
    broker.claim(1, 20)

    (document,) = broker.collection.find()

    assert abs(document["lock"] - ago(RETRY - 20)) < timedelta(seconds=5)


# Order


def test_a_text_that_looks_like_an_expression_is_a_package_like_any(broker: Mongo) -> None:
    broker.enqueue_many(["$lock", "$$NOW", ""])

    assert packages(broker) == ["$lock", "$$NOW", ""]


def test_the_index_of_the_order_is_made_by_the_broker(broker: Mongo) -> None:
    broker.enqueue("one")
    broker.purge_queue()
    with_waker(broker, lambda: broker.claim(1, RETRY))

    (index,) = [one for one in broker.collection.list_indexes() if one["name"] != "_id_"]
    assert list(index["key"].items()) == ORDER


def test_what_others_were_faster_to_claim_is_not_claimed_twice(
    broker: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.enqueue_many(list("abcd"))
    find_due = LeasedDocuments._find_due
    rival = LeasedDocuments(broker.collection, RETRY)

    def late(self: LeasedDocuments, due: Any, limit: int) -> list[Any]:
        found = find_due(self, due, limit)
        if self is not rival:
            rival.take(1, RETRY, datetime.now(UTC))
        return found

    monkeypatch.setattr(LeasedDocuments, "_find_due", late)

    assert packages(broker, 3) == ["b", "c"]
    assert packages(broker, 3) == []


# Limits


def test_the_largest_package_is_stored_and_a_larger_one_refused(broker: Mongo) -> None:
    largest = "x" * broker.max_package_bytes  # type: ignore[operator]

    broker.enqueue(largest, priority=100, available_at=ago(1))

    with pytest.raises(UnsupportedByBroker, match=f"at most {len(largest)} bytes"):
        broker.enqueue_many(["small", largest + "x"])
    assert packages(broker) == [largest]


def test_priorities_beyond_a_hundred_are_refused(broker: Mongo) -> None:
    with pytest.raises(TaskRefused, match="from -100 to 100"):
        broker.enqueue("urgent", priority=101)


# Waking


@pytest.fixture
def patient(broker: Mongo, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Mongo]:
    """Yield a broker whose claims wait for long, and which asks seldom unless it is woken."""
    settings.Q_CLUSTER = settings.Q_CLUSTER | {"poll": LONG}
    monkeypatch.setattr(module, "IDLE_SECONDS", LONG)
    patient = Mongo(broker.list_key)
    yield patient
    patient.close()


def while_it_waits(patient: Mongo, act: Callable[[], Any]) -> list[Any]:
    """Do something once a claim waits, and return what the claim brings."""
    waiter, waits = patient._waiter, Event()

    def wait(*arguments: Any) -> Woken:
        waits.set()
        return Waiter.wait(waiter, *arguments)

    waiter.wait = wait  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        claimed = pool.submit(packages, patient)
        assert waits.wait(LONG)
        act()
        return claimed.result(LONG)


def test_a_change_stream_wakes_a_claim_for_new_work(broker: Mongo, patient: Mongo) -> None:
    began = time.monotonic()

    found = while_it_waits(patient, lambda: broker.enqueue("new"))

    assert found == ["new"]
    assert time.monotonic() - began < LONG / 3


def test_a_change_stream_wakes_a_claim_for_what_is_given_back(
    broker: Mongo, patient: Mongo
) -> None:
    broker.enqueue("returned")
    (delivery,) = broker.claim(1, RETRY)
    began = time.monotonic()

    found = while_it_waits(patient, lambda: broker.release([delivery.receipt]))

    assert found == ["returned"]
    assert time.monotonic() - began < LONG / 3


def test_a_claim_wakes_when_a_delay_is_over(broker: Mongo, patient: Mongo) -> None:
    broker.enqueue("delayed", available_at=datetime.now(UTC) + timedelta(seconds=0.5))
    began = time.monotonic()

    assert packages(patient) == ["delayed"]
    assert time.monotonic() - began < LONG / 3


def test_a_queue_that_is_deleted_under_a_claim_is_served_anew(
    broker: Mongo, patient: Mongo
) -> None:
    broker.enqueue("locked", available_at=datetime.now(UTC) + timedelta(hours=1))

    def act() -> None:
        broker.delete_queue()
        broker.enqueue("new")

    assert while_it_waits(patient, act) == ["new"]


def with_waker(broker: Mongo, call: Callable[[], Any]) -> Any:
    """Call while the cluster's waker rings."""
    reader, writer = os.pipe()
    os.write(writer, b"!")
    broker.waker = reader
    try:
        return call()
    finally:
        broker.waker = None
        os.close(reader)
        os.close(writer)


def test_the_waker_ends_a_wait(patient: Mongo) -> None:
    began = time.monotonic()

    assert with_waker(patient, lambda: patient.claim(1, RETRY)) == []
    assert time.monotonic() - began < LONG / 3


# Clients


def test_brokers_of_a_process_share_a_client(broker: Mongo) -> None:
    assert get_broker("other").connection is broker.connection


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_a_client_of_its_own(broker: Mongo) -> None:
    from django_q.conf import get_settings

    parents = id(broker.connection), broker.connection
    child = os.fork()
    if child == 0:
        os._exit(client_of(get_settings()) is parents[1])

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
