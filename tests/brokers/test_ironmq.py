"""What is special about IronMQ: its reservations, its batches, and what its answers mean."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import iron_mq
import pytest
from pytest_django import Settings

from django_q.brokers import get_broker
from django_q.errors import BrokerUnavailable, ConfigurationError, EnqueueError
from django_q_broker_ironmq import reservations
from django_q_broker_ironmq.broker import IronMQBroker
from tests.ironmq_server import IronMQ


@pytest.fixture
def broker(ironmq: IronMQ, settings: Settings) -> IronMQBroker:
    """Return a broker on a queue of the test's own, which is not there yet."""
    settings.Q_CLUSTER = {"name": "tests", "poll": 0.05, "iron_mq": ironmq.settings()}
    return IronMQBroker(f"ironmq-{uuid4().hex[:12]}")


@pytest.fixture
def library(broker: IronMQBroker, ironmq: IronMQ) -> iron_mq.Queue:
    """Return the same queue as the library alone sees it."""
    return iron_mq.IronMQ(**ironmq.settings()).queue(broker.list_key)


def requests_of(broker: IronMQBroker, ironmq: IronMQ, end: str) -> list[dict[str, Any]]:
    """What was asked of this queue, by the end of the path."""
    return [
        each["body"]
        for each in ironmq.requests()
        if f"/{broker.list_key}/" in each["path"] and each["path"].endswith(end)
    ]


# Which broker it is


def test_the_key_iron_mq_chooses_it(ironmq: IronMQ, settings: Settings) -> None:
    settings.Q_CLUSTER = {"iron_mq": ironmq.settings()}

    broker = get_broker("mine")

    assert isinstance(broker, IronMQBroker)
    assert broker.info() == "IronMQ v3 at 127.0.0.1"


def test_messages_are_those_of_django_q2(broker: IronMQBroker, library: iron_mq.Queue) -> None:
    library.post("from Django Q2")
    assert [one.package for one in broker.claim(1, 60)] == ["from Django Q2"]

    broker.enqueue("from us")
    assert [each["body"] for each in library.get()["messages"]] == ["from us"]


def test_a_queue_may_have_any_name(broker: IronMQBroker) -> None:
    broker.list_key = f"a/b?c#d é%20 {uuid4().hex}"

    broker.enqueue("odd")

    assert [one.package for one in broker.claim(1, 60)] == ["odd"]
    broker.delete_queue()


# Reservations


@pytest.mark.parametrize(("lease", "timeout"), [(1, 30), (30, 30), (45.2, 46), (200_000, 86_400)])
def test_a_lease_is_a_reservation_of_30_seconds_to_a_day(
    broker: IronMQBroker, ironmq: IronMQ, lease: float, timeout: int
) -> None:
    broker.enqueue("work")
    [delivery] = broker.claim(1, lease)
    broker.extend([delivery.receipt], lease)

    assert requests_of(broker, ironmq, "/reservations")[-1]["timeout"] == timeout
    assert requests_of(broker, ironmq, "/touch")[-1]["timeout"] == timeout


def test_a_retry_below_30_is_warned_of(broker: IronMQBroker, settings: Settings) -> None:
    assert list(broker.warnings()) == []

    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "retry": 20, "timeout": 10}

    [warning] = broker.warnings()
    assert '"retry"] is 20, and IronMQ reserves for 30 seconds at least' in warning


def test_a_queue_that_pushes_is_warned_of(broker: IronMQBroker, library: iron_mq.Queue) -> None:
    library.client.put(
        f"queues/{library.name}", '{"queue": {"type": "multicast"}}', {"Content-Type": "json"}
    )

    [warning] = broker.warnings()
    assert "is of type 'multicast'" in warning


def test_a_receipt_names_message_and_reservation(
    broker: IronMQBroker, library: iron_mq.Queue
) -> None:
    broker.enqueue("work")
    [delivery] = broker.claim(1, 60)

    message_id, reservation_id = delivery.receipt.split(":")

    assert delivery.key == message_id
    assert library.delete(message_id, reservation_id) == {"msg": "Deleted"}


def test_releases_count_as_lapses_which_are_an_upper_bound(broker: IronMQBroker) -> None:
    broker.enqueue("work")
    lapses = []
    for _ in range(3):
        [delivery] = broker.claim(1, 60)
        lapses.append(delivery.lapses)
        broker.release([delivery.receipt])

    assert lapses == [0, 1, 2]


def test_renewals_that_could_not_be_asked_keep_their_receipt(
    broker: IronMQBroker, ironmq: IronMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "IN_FLIGHT", 1)
    broker.enqueue_many(["a", "b"])
    first, second = [one.receipt for one in broker.claim(2, 60)]
    ironmq.refuse(503)

    renewed = broker.extend([first, second], 60)

    assert renewed[first] == first
    assert renewed[second] not in {None, second}
    assert broker.acknowledge_many(list(renewed.values())) == []


def test_a_renewal_of_which_none_could_be_asked_is_an_outage(
    broker: IronMQBroker, ironmq: IronMQ
) -> None:
    broker.enqueue_many(["a", "b"])
    receipts = [one.receipt for one in broker.claim(2, 60)]
    ironmq.refuse(503, times=2)

    with pytest.raises(BrokerUnavailable):
        broker.extend(receipts, 60)

    assert None not in broker.extend(receipts, 60).values()


def test_an_outage_is_no_lost_reservation(broker: IronMQBroker, ironmq: IronMQ) -> None:
    broker.enqueue("a")
    [delivery] = broker.claim(1, 60)

    for status in (429, 500, 503, 504):
        ironmq.refuse(status)
        with pytest.raises(BrokerUnavailable, match=f"takes nothing for the moment: {status}"):
            broker.acknowledge_many([delivery.receipt])

    assert broker.acknowledge_many([delivery.receipt]) == []


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_any_refusal_of_a_receipt_is_a_lost_reservation(
    broker: IronMQBroker, ironmq: IronMQ, status: int
) -> None:
    broker.enqueue("a")
    receipt = broker.claim(1, 60)[0].receipt
    ironmq.refuse(status, times=3)

    assert broker.acknowledge_many([receipt]) == [receipt]
    assert broker.extend([receipt], 60) == {receipt: None}
    assert broker.release([receipt]) == [receipt]


# Batches


def test_a_batch_costs_one_request(broker: IronMQBroker, ironmq: IronMQ) -> None:
    broker.enqueue_many([f"package-{number}" for number in range(100)])
    claimed = broker.claim(100, 60)
    broker.acknowledge_many([one.receipt for one in claimed])

    asked = [f"/{broker.list_key}/" in each["path"] for each in ironmq.requests()]
    assert len(claimed) == 100
    assert sum(asked) == 3


def test_larger_batches_are_divided(broker: IronMQBroker, ironmq: IronMQ) -> None:
    broker.enqueue_many(["x" * 30_000] * 5 + ["y" * 100_000] + ["z"] * 150)
    claimed = [*broker.claim(500, 60), *broker.claim(500, 60)]

    assert broker.acknowledge_many([one.receipt for one in claimed]) == []

    posts = [b["messages"] for b in requests_of(broker, ironmq, "/messages") if "messages" in b]
    assert [len(messages) for messages in posts] == [2, 2, 1, 1, 100, 50]
    assert len(claimed) == 156
    assert broker.queue_size() == 0


def test_of_a_batch_that_is_put_in_by_half_the_ids_are_told(
    broker: IronMQBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, posts = broker.connection.post, []

    def fail_the_second_time(*messages: Any) -> Any:
        posts.append(messages)
        if len(posts) > 1:
            raise KeyError("ids")
        return post(*messages)

    monkeypatch.setattr(broker.connection, "post", fail_the_second_time)

    with pytest.raises(EnqueueError, match="100 of 120 packages were accepted") as caught:
        broker.enqueue_many(["x"] * 120)

    assert len(caught.value.accepted) == 100


def test_a_delay_is_given_in_whole_seconds(broker: IronMQBroker, ironmq: IronMQ) -> None:
    broker.enqueue("later", available_at=datetime.now(UTC) + timedelta(seconds=90.5))

    [post] = requests_of(broker, ironmq, "/messages")
    assert post["messages"] == [{"body": "later", "delay": 91}]


# Waiting


def test_an_idle_claim_waits_at_the_server(broker: IronMQBroker, ironmq: IronMQ) -> None:
    began = time.monotonic()

    assert broker.claim(1, 60) == []

    assert time.monotonic() - began >= 0.9
    # The first one finds no queue, and makes it.
    assert [body["wait"] for body in requests_of(broker, ironmq, "/reservations")] == [1, 1]


def test_a_claim_does_not_wait_while_its_waker_rings(broker: IronMQBroker, ironmq: IronMQ) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"!")
    broker.waker = reader

    assert broker.claim(1, 60) == []

    os.close(reader)
    os.close(writer)
    assert {body["wait"] for body in requests_of(broker, ironmq, "/reservations")} == {0}


def test_a_forked_process_opens_a_connection_of_its_own(broker: IronMQBroker) -> None:
    broker.enqueue("parent")
    parents = broker.connection.client._session

    child = os.fork()
    if child == 0:
        broker.enqueue("child")
        os._exit(int(broker.connection.client._session is parents))
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert broker.queue_size() == 2


def test_refused_credentials_are_a_mistake_of_the_settings(
    ironmq: IronMQ, settings: Settings
) -> None:
    settings.Q_CLUSTER = {"name": "tests", "iron_mq": ironmq.settings(token="wr0ng")}
    broker = IronMQBroker()

    for call in (broker.ping, lambda: broker.enqueue("x"), lambda: broker.extend(["1:2"], 60)):
        with pytest.raises(ConfigurationError, match="refuses the credentials: 401") as caught:
            call()
        assert "wr0ng" not in str(caught.value)
