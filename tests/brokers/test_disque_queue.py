"""What is special about the jobs of the Disque broker: whose leases they have, what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from pytest_django import Settings

from django_q.errors import BrokerUnavailable
from django_q_broker_disque import jobs
from django_q_broker_disque.broker import Disque
from tests.disque_server import DisqueStub


@pytest.fixture(scope="module")
def node() -> Iterator[DisqueStub]:
    """Yield one node."""
    node = DisqueStub()
    node.start()
    yield node
    node.close()


@pytest.fixture
def queue() -> str:
    return uuid4().hex


@pytest.fixture
def broker(node: DisqueStub, queue: str, settings: Settings) -> Disque:
    settings.Q_CLUSTER = node.settings(name="tests", retry=10)
    return Disque(queue)


def facts(node: DisqueStub, job: str) -> dict[str, Any]:
    flat = node.run_command("SHOW", job)
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


# What is in the queue


def test_the_job_is_the_package_and_comes_back_after_retry(
    node: DisqueStub, queue: str, broker: Disque
) -> None:
    job = facts(node, broker.enqueue("signed:package with spaces"))

    assert job["queue"] == queue.encode()
    assert job["body"] == b"signed:package with spaces"
    assert job["retry"] == 10
    assert job["ttl"] > 9 * jobs.YEAR


def test_a_part_of_a_second_is_not_lost(node: DisqueStub, queue: str, settings: Settings) -> None:
    settings.Q_CLUSTER = node.settings(name="tests", retry=0.2)

    assert facts(node, Disque(queue).enqueue("package"))["retry"] == 1


def test_what_django_q_enqueued_is_understood(node: DisqueStub, queue: str, broker: Disque) -> None:
    node.run_command(f"ADDJOB {queue} eyJ:sig-na_ture 500 RETRY 60")

    (delivery,) = broker.claim(9, 10)

    assert (delivery.package, delivery.lapses, delivery.attempts) == (b"eyJ:sig-na_ture", 0, 0)
    assert broker.acknowledge_many([delivery.receipt]) == []


def test_work_that_is_given_back_at_once_stays_the_same_job(
    node: DisqueStub, broker: Disque
) -> None:
    job = broker.enqueue("package")
    (delivery,) = broker.claim(1, 10)

    broker.release([delivery.receipt])

    assert facts(node, job)["nacks"] == 1
    assert [each.key for each in broker.claim(1, 10)] == [job]


def test_work_that_is_given_back_for_later_keeps_its_key_and_is_one_job(
    node: DisqueStub, queue: str, broker: Disque
) -> None:
    job = broker.enqueue("package")
    for attempts in range(3):
        (delivery,) = broker.claim(9, 10)
        assert (delivery.key, delivery.package, delivery.attempts) == (job, b"package", attempts)
        broker.release([delivery.receipt], delay=5, count=True)
        assert (broker.queue_size(), broker.lock_size()) == (0, 1)
        node.advance(5.1)

    assert broker.key_of(delivery.receipt) == job


def test_a_thousand_packages_go_in_and_out(broker: Disque) -> None:
    broker.enqueue_many([f"package-{number}" for number in range(1200)])

    found = broker.claim(2000, 10)

    assert [each.package.decode() for each in found if isinstance(each.package, bytes)] == [
        f"package-{number}" for number in range(1200)
    ]
    assert broker.lock_size() == 1200
    assert broker.acknowledge_many([each.receipt for each in found]) == []
    assert broker.lock_size() == 0


# Leases


def test_a_lease_begins_with_the_claim_however_long_the_package_waited(
    node: DisqueStub, broker: Disque
) -> None:
    broker.enqueue("waited")
    node.advance(9)
    broker.claim(1, 10)

    node.advance(9)

    assert broker.queue_size() == 0


def test_what_came_back_before_its_lease_could_begin_is_held_all_the_same(
    node: DisqueStub, broker: Disque, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = jobs.hold

    def hold_late(*arguments: Any) -> Any:
        node.advance(2)
        return hold(*arguments)

    broker.enqueue("waited")
    node.advance(9)
    monkeypatch.setattr(jobs, "hold", hold_late)
    (delivery,) = broker.claim(1, 10)

    assert broker.queue_size() == 0
    assert broker.extend([delivery.receipt], 10) == {delivery.receipt: delivery.receipt}
    assert broker.acknowledge_many([delivery.receipt]) == []
    assert broker.lock_size() == 0


def test_what_an_outage_keeps_from_being_held_is_delivered_all_the_same(
    broker: Disque, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Any:
        raise ConnectionResetError

    broker.enqueue("claimed")
    monkeypatch.setattr(jobs, "hold", fail)

    (delivery,) = broker.claim(1, 10)

    assert delivery.package == b"claimed"


def test_a_task_longer_than_retry_stays_with_its_cluster(node: DisqueStub, broker: Disque) -> None:
    broker.enqueue("long")
    receipt = broker.claim(1, 10)[0].receipt

    for _ in range(20):
        node.advance(4)
        assert broker.queue_size() == 0
        receipt = broker.extend([receipt], 10)[receipt]

    assert broker.acknowledge_many([receipt]) == []


def test_a_renewal_that_another_claim_forestalls_is_refused(
    node: DisqueStub, broker: Disque, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.enqueue("contested")
    receipt = broker.claim(1, 10)[0].receipt
    node.advance(11)
    look = jobs.look

    def look_and_lose(*arguments: Any) -> Any:
        seen = look(*arguments)
        Disque(broker.list_key).claim(1, 10)
        return seen

    monkeypatch.setattr(jobs, "look", look_and_lose)

    assert broker.extend([receipt], 10) == {receipt: None}


def test_a_lease_too_short_to_be_renewed_is_warned_of_once(
    node: DisqueStub, queue: str, broker: Disque, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        node.run_command("ADDJOB", queue, "hasty", 500, "RETRY", 2)
    for _ in range(3):
        broker.claim(1, 10)

    (line,) = [each for each in caplog.messages if "retry" in each]
    assert "come back after 2 seconds" in line


def test_in_the_second_half_of_its_life_a_job_stays_with_its_claim(
    node: DisqueStub, queue: str, broker: Disque
) -> None:
    # Django Q's jobs live for a day, and Disque renews no lease in its second half.
    node.run_command("ADDJOB", queue, "old", 500, "RETRY", 10)
    node.advance(13 * 3600)
    receipt = broker.claim(1, 10)[0].receipt

    assert broker.extend([receipt], 10) == {receipt: receipt}
    assert broker.acknowledge_many([receipt]) == []


# What a node may say


@pytest.mark.parametrize("said", ["OOM", "LEAVING", "NOREPL", "PAUSED"])
def test_a_node_that_takes_nothing_is_an_outage(
    broker: Disque, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    from redis.exceptions import ResponseError

    answers = [ResponseError(f"{said} for some reason")]
    monkeypatch.setattr(jobs, "_run", lambda *arguments, **options: answers)

    with pytest.raises(BrokerUnavailable, match=f"takes nothing for the moment: {said}"):
        broker.enqueue("package")


def test_a_delay_of_years_is_kept(node: DisqueStub, broker: Disque) -> None:
    job = broker.enqueue("later", available_at=timezone.now() + timedelta(days=15 * 365))

    node.advance(15 * jobs.YEAR + 1)
    (delivery,) = broker.claim(1, 10)

    assert delivery.key == job
    assert broker.extend([delivery.receipt], 10)[delivery.receipt] is not None
    assert node.run_command("WORKING", job) == 10
