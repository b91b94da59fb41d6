"""A waiting claim on Redis is woken by whatever brings work, and costs next to nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings

from django_q.brokers.base import Delivery
from django_q.errors import BrokerUnavailable
from django_q_broker_redis.broker import Redis
from django_q_broker_redis.keys import keys_of
from tests import redis_servers
from tests.redis_servers import until

PUSH = """
import sys, redis
port, key, package = sys.argv[1:]
redis.Redis(host="127.0.0.1", port=int(port)).rpush(key, package)
"""

LONG = 60


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may succeed because the longest wait is over."""
    monkeypatch.setattr("django_q_broker_redis.broker.IDLE_SECONDS", LONG)


@pytest.fixture
def broker(redis_server: redis_servers.Redis, settings: Settings) -> Iterator[Redis]:
    """Yield a broker of a producer, on a queue of the test's own."""
    settings.Q_CLUSTER = {"name": "tests", "redis": redis_server.settings()}
    broker = Redis(f"waiting-{uuid4().hex[:8]}")
    yield broker
    broker.delete_queue()
    broker.close()


@pytest.fixture
def start(broker: Redis) -> Iterator[Callable[[], Waiting]]:
    """Start claims that are known to wait; what still waits in the end is rung for."""
    started: list[Waiting] = []

    def start() -> Waiting:
        started.append(Waiting(broker.list_key))
        return started[-1]

    yield start
    for claim in started:
        claim.close()


def blocked(server: redis_servers.Redis) -> int:
    return int(server.run_command("INFO", "clients")["blocked_clients"])


class Waiting:
    """A claim in a thread of its own, known to be blocked at the server."""

    def __init__(self, list_key: str) -> None:
        self.reader, self.writer = os.pipe()
        self.broker = Redis(list_key)
        self.broker.waker = self.reader
        self.found: list[Delivery] | None = None
        self.error: BrokerUnavailable | None = None
        before = self.blocked()
        self.thread = threading.Thread(target=self._claim, daemon=True)
        self.thread.start()
        # One call for the list, one for what is ready otherwise.
        until(lambda: self.blocked() == before + 2)

    def blocked(self) -> int:
        return int(self.broker.connection.info("clients")["blocked_clients"])

    def outcome(self) -> list[Any]:
        self.thread.join(LONG / 2)
        if self.error is not None:
            raise self.error
        assert self.found is not None, "the claim still waits"
        return [delivery.package for delivery in self.found]

    def ring(self) -> None:
        os.write(self.writer, b"!")

    def close(self) -> None:
        self.ring()
        self.thread.join(LONG / 2)
        os.close(self.reader)
        os.close(self.writer)

    def _claim(self) -> None:
        try:
            self.found = self.broker.claim(1, LONG)
        except BrokerUnavailable as error:
            self.error = error
        finally:
            self.broker.close()


Start = Callable[[], Waiting]


def ahead(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


class TestAWaitingClaim:
    def test_a_push_of_a_foreign_process_wakes_it(
        self, broker: Redis, start: Start, redis_server: redis_servers.Redis
    ) -> None:
        claim = start()

        arguments = [str(redis_server.port), broker.list_key, "foreign"]
        subprocess.run([sys.executable, "-c", PUSH, *arguments], check=True)

        assert claim.outcome() == [b"foreign"]

    def test_an_urgent_package_wakes_it(self, broker: Redis, start: Start) -> None:
        claim = start()

        broker.enqueue("urgent", priority=5)

        assert claim.outcome() == [b"urgent"]

    def test_a_package_that_nobody_is_in_a_hurry_for_wakes_it(
        self, broker: Redis, start: Start
    ) -> None:
        claim = start()

        broker.enqueue("some day", priority=-5)

        assert claim.outcome() == [b"some day"]

    def test_a_release_wakes_it(self, broker: Redis, start: Start) -> None:
        broker.enqueue("given back")
        (held,) = broker.claim(1, LONG)
        claim = start()

        broker.release([held.receipt])

        assert claim.outcome() == [b"given back"]

    def test_a_package_that_becomes_due_wakes_it(self, broker: Redis, start: Start) -> None:
        broker.enqueue("due", available_at=ahead(0.3))
        claim = start()

        assert claim.outcome() == [b"due"]

    def test_a_package_that_becomes_due_and_came_during_the_wait_wakes_it(
        self, broker: Redis, start: Start
    ) -> None:
        claim = start()

        broker.enqueue("due", available_at=ahead(0.3))

        assert claim.outcome() == [b"due"]

    def test_a_release_for_a_little_later_wakes_it(self, broker: Redis, start: Start) -> None:
        broker.enqueue("given back")
        (held,) = broker.claim(1, LONG)
        claim = start()

        broker.release([held.receipt], delay=0.3, count=True)

        assert claim.outcome() == [b"given back"]

    def test_a_lease_that_ends_wakes_it(self, broker: Redis, start: Start) -> None:
        broker.enqueue("of a dead cluster")
        broker.claim(1, 0.3)

        assert start().outcome() == [b"of a dead cluster"]

    def test_the_waker_ends_it(self, start: Start) -> None:
        claim = start()

        claim.ring()

        assert claim.outcome() == []

    def test_it_takes_nothing_that_it_does_not_bring(self, broker: Redis, start: Start) -> None:
        claim = start()

        broker.enqueue_many(["first", "second", "third"])

        assert claim.outcome() == [b"first"]
        assert broker.connection.lrange(broker.list_key, 0, -1) == [b"second", b"third"]

    def test_a_call_that_was_cut_off_is_made_again(
        self, broker: Redis, start: Start, redis_server: redis_servers.Redis
    ) -> None:
        cut = start()
        redis_server.cut_connections()
        with pytest.raises(BrokerUnavailable):
            cut.outcome()
        again = start()

        broker.enqueue("later")

        assert again.outcome() == [b"later"]


class TestSeveral:
    def test_two_that_wait_both_get_something(self, broker: Redis, start: Start) -> None:
        one, other = start(), start()

        broker.enqueue_many(["first", "second"])

        assert sorted(one.outcome() + other.outcome()) == [b"first", b"second"]

    def test_two_that_wait_both_get_something_urgent(self, broker: Redis, start: Start) -> None:
        one, other = start(), start()

        broker.enqueue_many(["first", "second"], priority=1)

        assert sorted(one.outcome() + other.outcome()) == [b"first", b"second"]

    def test_what_falls_due_together_goes_to_all_who_wait(
        self, broker: Redis, start: Start
    ) -> None:
        broker.enqueue_many(["first", "second", "third"], available_at=ahead(0.5))
        claims = [start(), start(), start()]

        found = [package for claim in claims for package in claim.outcome()]

        assert sorted(found) == [b"first", b"second", b"third"]

    def test_what_lapsed_together_goes_to_all_who_wait(self, broker: Redis, start: Start) -> None:
        broker.enqueue_many(["first", "second"])
        broker.claim(2, 0.5)
        claims = [start(), start()]

        assert sorted(claims[0].outcome() + claims[1].outcome()) == [b"first", b"second"]


class TestEncrypted:
    def test_a_push_wakes_it_over_tls(
        self,
        broker: Redis,
        start: Start,
        encrypted: redis_servers.EncryptedRedis,
        settings: Settings,
    ) -> None:
        trusted = {"ssl": True, "ssl_ca_certs": str(encrypted.certificate)}
        settings.Q_CLUSTER = {"name": "tests", "redis": encrypted.settings(**trusted)}
        claim = start()

        encrypted.connect().rpush(broker.list_key, "over tls")

        assert claim.outcome() == [b"over tls"]


class TestInACluster:
    def test_it_waits_at_the_server_to_which_its_queue_has_moved(
        self, cluster: redis_servers.RedisCluster, settings: Settings
    ) -> None:
        settings.Q_CLUSTER = {"name": "tests", "redis": cluster.settings()}
        broker = Redis(f"waiting-{uuid4().hex[:8]}")
        source = cluster.node_of(broker.list_key)
        target = next(node for node in cluster.nodes if node is not source)
        claim = threading.Thread(target=broker.claim, args=(1, LONG), daemon=True)
        claim.start()
        until(lambda: blocked(source) == 2)

        cluster.move(broker.list_key, target)

        until(lambda: blocked(target) == 2)
        Redis(broker.list_key).enqueue("there")
        claim.join(LONG / 2)
        assert (blocked(source), Redis(broker.list_key).lock_size()) == (0, 1)
        broker.delete_queue()
        broker.close()


class TestCosts:
    def test_no_one_is_woken_for_what_is_gone(self, broker: Redis) -> None:
        wake = keys_of(broker.list_key)[-1]
        broker.enqueue_many(["first", "second"], priority=1)
        assert broker.connection.exists(wake)

        found = broker.claim(10, 0.1)
        assert not broker.connection.exists(wake)

        broker.acknowledge_many([delivery.receipt for delivery in found])
        assert not broker.connection.exists(wake)

    def test_a_lapsed_claim_that_is_settled_late_calls_no_one(self, broker: Redis) -> None:
        wake = keys_of(broker.list_key)[-1]
        broker.enqueue_many(["first", "second"])
        found = broker.claim(2, 0.05)
        (again,) = broker.claim(1, LONG)  # and the other is there for all
        assert broker.connection.exists(wake)

        (late,) = [each for each in found if each.key != again.key]
        assert broker.acknowledge_many([late.receipt]) == []

        assert not broker.connection.exists(wake)

    def test_an_idle_queue_is_not_asked_again_while_nothing_rings(
        self, broker: Redis, monkeypatch: pytest.MonkeyPatch, redis_server: redis_servers.Redis
    ) -> None:
        monkeypatch.setattr("django_q_broker_redis.broker.IDLE_SECONDS", 0.2)
        broker.claim(1, LONG)  # connects, and loads what it needs
        redis_server.run_command("CONFIG", "RESETSTAT")

        for _ in range(3):
            assert broker.claim(1, LONG) == []

        stats = redis_server.run_command("INFO", "commandstats")
        # The calls that wait are on their way all the time, and say whether there is need to look.
        assert "cmdstat_evalsha" not in stats
        assert "cmdstat_blmove" not in stats
