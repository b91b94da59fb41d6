"""What the memory broker does beside the contract."""

from threading import Event, Thread

import pytest

from django_q.brokers.memory import Memory


@pytest.fixture
def broker() -> Memory:
    """Return a memory broker whose queue is empty afterwards."""
    broker = Memory("memory-test")
    yield broker
    broker.delete_queue()


def test_it_serves_no_cluster() -> None:
    assert not Memory.serves_clusters


def test_its_clock_can_be_put_forward(broker: Memory) -> None:
    broker.enqueue("package")
    broker.claim(1, 3600)

    broker.advance(3601)

    assert [delivery.lapses for delivery in broker.claim(1, 60)] == [1]


def test_a_waiting_claim_notices_that_the_clock_was_put_forward(broker: Memory) -> None:
    broker.idle_seconds = 20
    broker.enqueue("package")
    broker.claim(1, 3600)
    claiming, found = Event(), []

    def claim() -> None:
        claiming.set()
        found.extend(broker.claim(1, 60))

    thread = Thread(target=claim)
    thread.start()
    claiming.wait(5)
    broker.advance(3601)
    thread.join(5)

    assert [delivery.package for delivery in found] == ["package"]


def test_packages_lists_all_without_claiming_any(broker: Memory) -> None:
    broker.enqueue_many(["a", "b"])
    broker.claim(1, 60)

    assert broker.packages() == ["a", "b"]
    assert (broker.queue_size(), broker.lock_size()) == (1, 1)


def test_a_waiting_package_is_deleted_by_its_id(broker: Memory) -> None:
    kept, unwanted = broker.enqueue_many(["kept", "unwanted"])

    assert broker.delete(unwanted)
    assert not broker.delete(unwanted)
    assert [delivery.key for delivery in broker.claim(5, 60)] == [kept]


def test_settled_leases_leave_nothing_behind(broker: Memory) -> None:
    for _batch in range(12):
        broker.enqueue_many(["package"] * 100)
        receipts = [delivery.receipt for delivery in broker.claim(100, 3600)]
        broker.acknowledge_many(receipts)
    broker.enqueue("last")

    broker.claim(1, 60)

    assert len(broker.connection.waiting) < 100


def test_dequeue_brings_as_many_as_bulk_says(
    broker: Memory, settings: pytest.FixtureRequest
) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "bulk": 2}
    broker.enqueue_many(["a", "b", "c"])

    assert [package for _receipt, package in broker.dequeue()] == ["a", "b"]
