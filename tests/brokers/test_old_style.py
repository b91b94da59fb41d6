"""Brokers written for Django Q and Django Q2 work through the batch methods, unchanged."""

import os
import time
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from django_q.brokers.base import Broker
from django_q.errors import UnsupportedByBroker
from django_q.models import OrmQ
from django_q_testkit import BrokerConformance
from tests.brokers.old_style import (
    FOLDER_VARIABLE,
    AuditedORM,
    FileList,
    FileReceipts,
    HandmadeORM,
    Renamed,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the brokers of this test keep their files."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def _hasty() -> None:
    """Let a broker that finds nothing look again soon."""
    with override_settings(Q_CLUSTER={**django_settings.Q_CLUSTER, "poll": 0.01}):
        yield


class TestSmallestBroker(BrokerConformance):
    """Four 1.x methods and no receipts are enough to pass the whole suite."""

    takes_bytes = False

    def make_broker(self, list_key: str) -> Broker:
        return FileList(list_key)

    def elapse(self, broker: Broker, seconds: float) -> None:
        """Not wait: this broker has no idea of time."""


# A name and nothing else


def test_a_broker_that_only_has_a_name_is_an_empty_queue() -> None:
    broker = Renamed("nothing")

    broker.enqueue_many(["package"])

    assert broker.info() == "My Custom Broker"
    assert (broker.queue_size(), broker.lock_size(), broker.ping()) == (0, 0, True)


def test_a_broker_that_only_has_a_name_does_not_spin() -> None:
    began = time.monotonic()

    assert Renamed("nothing").claim(1, 60) == []
    assert time.monotonic() - began >= 0.5


# Files with receipts


def test_a_1x_broker_that_acknowledges_is_taken_to_have_receipts() -> None:
    assert FileReceipts.supports_receipts
    assert FileReceipts.retries_failures
    assert not FileList.supports_receipts
    assert not FileList.retries_failures


def test_a_1x_broker_neither_renews_nor_releases() -> None:
    broker = FileReceipts("plain")

    with pytest.raises(UnsupportedByBroker, match="FileReceipts cannot renew"):
        broker.extend(["receipt"], 60)
    with pytest.raises(UnsupportedByBroker, match="FileReceipts cannot take"):
        broker.release(["receipt"])


def test_a_1x_broker_is_acknowledged_one_by_one() -> None:
    broker = FileReceipts("plain")
    broker.enqueue_many(["a", "b"])
    deliveries = broker.claim(1, 60) + broker.claim(1, 60)

    refused = broker.acknowledge_many([delivery.receipt for delivery in deliveries])

    assert refused == []
    assert (broker.queue_size(), broker.lock_size()) == (0, 0)


def test_work_of_a_1x_broker_comes_back_with_the_same_key() -> None:
    broker = FileReceipts("plain")
    broker.enqueue("again")
    [first] = broker.claim(1, 60)
    taken = broker.connection / f"{first.receipt}.taken"
    os.utime(taken, (time.time(), time.time() - 61))

    [second] = broker.claim(1, 60)

    assert (second.key, second.package) == (first.key, "again")


@pytest.mark.usefixtures("_hasty")
def test_a_1x_bulk_is_handed_on_whole() -> None:
    broker = FileReceipts("bulk")
    broker.enqueue_many(["a", "b", "c"])

    with override_settings(Q_CLUSTER={**django_settings.Q_CLUSTER, "bulk": 3}):
        deliveries = broker.claim(1, 60)

    assert [delivery.package for delivery in deliveries] == ["a", "b", "c"]


def test_a_1x_enqueue_cannot_be_asked_for_a_priority() -> None:
    with pytest.raises(UnsupportedByBroker, match="FileList has no priority"):
        FileList("plain").enqueue_many(["urgent"], priority=1)


# Subclasses of Django Q2's own broker


@pytest.mark.django_db(transaction=True)
def test_an_orm_subclass_sees_all_that_passes(folder: Path) -> None:
    broker = AuditedORM("audited")
    broker.enqueue_many(["package"])
    [delivery] = broker.claim(5, 60)

    broker.acknowledge_many([delivery.receipt])

    notes = [line.split()[0] for line in (folder / "audit.log").read_text().splitlines()]
    assert notes == ["enqueue", "dequeue", "acknowledge"]
    assert not OrmQ.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_orm_subclass_keeps_what_it_did_not_override() -> None:
    broker = AuditedORM("audited")
    broker.enqueue("package")
    [delivery] = broker.claim(1, 60)

    extended = broker.extend([delivery.receipt], 60)
    refused = broker.release([extended[delivery.receipt]])

    assert refused == []
    assert broker.claim(1, 60)[0].key == delivery.key


def test_an_orm_subclass_loses_the_capabilities_that_its_overrides_lack() -> None:
    assert AuditedORM.supports_receipts
    assert AuditedORM.is_transactional
    assert not AuditedORM.supports_priority
    assert not AuditedORM.supports_delay
    assert not AuditedORM.counts_attempts
    assert not AuditedORM.counts_lapses


@pytest.mark.django_db(transaction=True)
def test_an_orm_subclass_may_hand_out_bare_primary_keys() -> None:
    broker = HandmadeORM("handmade")
    broker.enqueue("package")
    [delivery] = broker.claim(1, 60)

    assert delivery.receipt == OrmQ.objects.get().pk
    assert broker.extend([delivery.receipt], 60) == {delivery.receipt: delivery.receipt}
    assert broker.acknowledge_many([delivery.receipt]) == []
    assert not OrmQ.objects.exists()
