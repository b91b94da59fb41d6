"""The Redis broker knows when its server is away, halted or full, says so, and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
import redis
from django.utils import timezone
from pytest_django import Settings

from django_q.errors import BrokerUnavailable, EnqueueError
from django_q_broker_redis.broker import Redis
from tests import redis_servers

Call = Callable[[Redis, Any], Any]

TAKING: dict[str, Call] = {
    "claim": lambda broker, receipt: broker.claim(1, 60),
    "extend": lambda broker, receipt: broker.extend([receipt], 60),
    "release": lambda broker, receipt: broker.release([receipt]),
    "acknowledge_many": lambda broker, receipt: broker.acknowledge_many([receipt]),
    "queue_size": lambda broker, receipt: broker.queue_size(),
    "ping": lambda broker, receipt: broker.ping(),
}

PUTTING: dict[str, Call] = {
    "enqueue": lambda broker, receipt: broker.enqueue("new"),
    "enqueue_many": lambda broker, receipt: broker.enqueue_many(["new", "too"]),
    "enqueue with a priority": lambda broker, receipt: broker.enqueue("new", priority=1),
    "enqueue with a delay": lambda broker, receipt: broker.enqueue("new", available_at=later()),
    "set_stat": lambda broker, receipt: broker.set_stat("stat", "fine", 60),
}

CALLS = TAKING | PUTTING


def later() -> Any:
    return timezone.now() + timedelta(hours=1)


@pytest.fixture(scope="module")
def server() -> Iterator[redis_servers.Redis]:
    """Yield a server of this module's own, which nobody else misses while it is away."""
    server = redis_servers.Redis(appendonly="yes", appendfsync="always")
    server.start()
    yield server
    server.close()


@pytest.fixture
def broker(server: redis_servers.Redis, settings: Settings) -> Iterator[Redis]:
    server.run_command("FLUSHALL")
    settings.Q_CLUSTER = {"name": "tests", "redis": server.settings(socket_timeout=0.2)}
    broker = Redis()
    yield broker
    if server.process is None:
        server.start()
    broker.close()


@pytest.fixture
def receipt(broker: Redis) -> Any:
    """Return a receipt; another package waits."""
    broker.enqueue_many(["claimed", "waiting"])
    (delivery,) = broker.claim(1, 60)
    return delivery.receipt


def complaint_of(broker: Redis, receipt: Any, call: Call) -> str:
    """Return what the error says, which is that of Django Q and of redis-py."""
    with pytest.raises(BrokerUnavailable) as caught:
        call(broker, receipt)
    assert isinstance(caught.value, redis.ConnectionError)
    return str(caught.value)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_cut_connection_costs_nothing(
    server: redis_servers.Redis, broker: Redis, receipt: Any, call: Call
) -> None:
    assert server.cut_connections() > 0

    call(broker, receipt)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_that_is_away_is_named_and_what_was_held_is_held_again(
    server: redis_servers.Redis, broker: Redis, receipt: Any, end: str
) -> None:
    getattr(server, end)()
    complaints = {complaint_of(broker, receipt, call)[:40] for call in CALLS.values()}
    server.start()

    assert complaints == {f"Redis at 127.0.0.1:{server.port} cannot be reached"[:40]}
    assert broker.extend([receipt], 60) == {receipt: receipt}
    assert [delivery.package for delivery in broker.claim(9, 60)] == [b"waiting"]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_server_that_does_not_answer_is_given_up_and_served_again(
    server: redis_servers.Redis, broker: Redis, receipt: Any, call: Call
) -> None:
    # It ends by itself: a server that answers nobody cannot be told to go on either.
    server.run_command("CLIENT", "PAUSE", "500", "ALL")
    complaint = complaint_of(broker, receipt, call)
    server.run_command("PING")

    assert "does not answer" in complaint
    call(broker, receipt)


@pytest.fixture
def full(server: redis_servers.Redis, receipt: Any) -> Iterator[redis_servers.Redis]:
    """Yield the server while it takes nothing."""
    server.run_command("CONFIG", "SET", "maxmemory", "1")
    yield server
    server.run_command("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.parametrize("call", PUTTING.values(), ids=PUTTING)
def test_a_full_server_takes_nothing_and_says_what_to_do(
    full: redis_servers.Redis, broker: Redis, receipt: Any, call: Call
) -> None:
    assert "is out of memory and takes no more tasks" in complaint_of(broker, receipt, call)


def test_a_server_that_fills_up_in_the_middle_of_a_batch_says_what_it_has_taken(
    server: redis_servers.Redis, broker: Redis
) -> None:
    packages = ["x" * 1000] * 5000
    used = server.run_command("INFO", "memory")["used_memory"]
    server.run_command("CONFIG", "SET", "maxmemory", str(used + 2_500_000))
    try:
        with pytest.raises(EnqueueError) as caught:
            broker.enqueue_many(packages, priority=1)
    finally:
        server.run_command("CONFIG", "SET", "maxmemory", "0")

    assert isinstance(caught.value.__cause__, BrokerUnavailable)
    assert 0 < len(caught.value.accepted) == broker.queue_size() < len(packages)


@pytest.mark.parametrize("call", TAKING.values(), ids=TAKING)
def test_a_full_server_is_worked_off(
    full: redis_servers.Redis, broker: Redis, receipt: Any, call: Call
) -> None:
    call(broker, receipt)


def test_a_full_server_is_worked_empty(
    full: redis_servers.Redis, broker: Redis, receipt: Any
) -> None:
    broker.release([receipt], count=True)
    deliveries = broker.claim(9, 60)
    broker.extend([delivery.receipt for delivery in deliveries], 60)

    assert broker.acknowledge_many([delivery.receipt for delivery in deliveries]) == []
    assert sorted(delivery.package for delivery in deliveries) == [b"claimed", b"waiting"]
    assert (broker.queue_size(), broker.lock_size()) == (0, 0)
    assert broker.claim(1, 60) == []


def test_a_waiting_claim_notices_that_its_server_is_gone(
    server: redis_servers.Redis, broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_q_broker_redis.broker.IDLE_SECONDS", 60)
    errors: list[BrokerUnavailable] = []

    def claim() -> None:
        try:
            broker.claim(1, 60)
        except BrokerUnavailable as error:
            errors.append(error)

    thread = Thread(target=claim)
    thread.start()
    redis_servers.until(lambda: "blmove" in str(server.run_command("CLIENT", "LIST")))
    server.kill()
    thread.join(30)

    assert len(errors) == 1
