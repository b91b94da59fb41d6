"""What the Redis broker keeps in Redis, in which order it gives it out, and at what price."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis
from pytest_django import Settings

from django_q.brokers.base import Delivery
from django_q.errors import BrokerUnavailable, EnqueueError, TaskRefused
from django_q_broker_redis import leased
from django_q_broker_redis.broker import Redis
from django_q_broker_redis.errors import unavailable
from django_q_broker_redis.keys import keys_of
from tests import redis_servers

LONG = 60.0
SOON = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def broker(redis_server: redis_servers.Redis, settings: Settings) -> Iterator[Redis]:
    """Yield a broker on a queue of the test's own."""
    settings.Q_CLUSTER = {"name": "tests", "redis": redis_server.settings()}
    broker = Redis(f"queue-{uuid4().hex[:8]}")
    yield broker
    broker.delete_queue()
    broker.close()


@pytest.fixture
def calls(
    broker: Redis, redis_server: redis_servers.Redis
) -> Callable[[Callable[[], Any]], dict[str, int]]:
    """Return a function that says which commands an action sent, and how often each."""
    if broker.supports_release:
        warm_up(broker)

    def counted(action: Callable[[], Any]) -> dict[str, int]:
        redis_server.run_command("CONFIG", "RESETSTAT")
        action()
        stats = redis_server.run_command("INFO", "commandstats")
        sent = ("evalsha", "eval", "script|load", "rpush", "lpop", "blmove")
        return {name: stats[key]["calls"] for name in sent if (key := f"cmdstat_{name}") in stats}

    return counted


def warm_up(broker: Redis) -> None:
    """Have every script loaded."""
    broker.enqueue("warm", priority=1)
    (one,) = broker.claim(1, LONG)
    broker.extend([one.receipt], LONG)
    broker.release([one.receipt])
    (one,) = broker.claim(1, LONG)
    broker.acknowledge_many([one.receipt])
    broker.queue_size()


def claim_all(broker: Redis, count: int, lease: float = LONG) -> list[Delivery]:
    found = broker.claim(count, lease)
    assert len(found) == count
    return found


def receipts(deliveries: list[Delivery]) -> list[Any]:
    return [delivery.receipt for delivery in deliveries]


def packages(deliveries: list[Delivery]) -> list[Any]:
    return [delivery.package for delivery in deliveries]


def let_end(broker: Redis) -> None:
    """Let all leases end and all delays be over."""
    _list, _ready, delayed, leases, *_rest = keys_of(broker.list_key)
    for key in (delayed, leases):
        for number in broker.connection.zrange(key, 0, -1):
            broker.connection.zadd(key, {number: 1})


def left(broker: Redis) -> set[str]:
    """The names of the queue's keys that are there."""
    names = ["list", "ready", "delayed", "leases", "claims", "packages", "counter", "wake"]
    keys = keys_of(broker.list_key)
    return {name for name, key in zip(names, keys, strict=True) if broker.connection.exists(key)}


class TestOneCommand:
    @pytest.mark.parametrize("count", [1, 5000])
    def test_any_number_of_packages_is_put_in_by_one(
        self, broker: Redis, calls: Any, count: int
    ) -> None:
        sent = [f"package-{number}" for number in range(count)]

        assert calls(lambda: broker.enqueue_many([*sent])) == {"rpush": 1}
        assert broker.queue_size() == count

    def test_a_batch_with_a_priority_or_a_delay_is_put_in_by_one(
        self, broker: Redis, calls: Any
    ) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)

        # The other two are calls within the script, to wake who waits.
        urgent = calls(lambda: broker.enqueue_many(["a"] * 1000, priority=3))
        delayed = calls(lambda: broker.enqueue_many(["b"] * 1000, available_at=later))

        assert urgent == {"evalsha": 1, "rpush": 1}
        assert delayed == {"evalsha": 1}

    def test_a_thousand_are_claimed_extended_released_and_acknowledged_by_one_each(
        self, broker: Redis, calls: Any
    ) -> None:
        broker.enqueue_many(["package"] * 1000)
        found: list[Delivery] = []

        assert calls(lambda: found.extend(broker.claim(1000, LONG))) == {"evalsha": 1, "lpop": 1}
        assert calls(lambda: broker.extend(receipts(found), LONG)) == {"evalsha": 1}
        assert calls(lambda: broker.release(receipts(found)))["evalsha"] == 1
        found.clear()
        assert calls(lambda: found.extend(broker.claim(1000, LONG)))["evalsha"] == 1
        assert calls(lambda: broker.acknowledge_many(receipts(found))) == {"evalsha": 1}
        assert len(found) == 1000

    def test_more_than_that_is_no_mistake(self, broker: Redis) -> None:
        broker.enqueue_many(["urgent"] * 2500, priority=1)
        found: list[Delivery] = []

        while more := broker.claim(10_000, LONG) if len(found) < 2500 else []:
            found += more
        assert len(found) == 2500
        assert None not in broker.extend(receipts(found), LONG).values()
        assert broker.release(receipts(found)) == []
        assert broker.queue_size() == 2500

    def test_thousands_that_lapse_or_are_due_at_once_are_claimed(self, broker: Redis) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)
        broker.enqueue_many(["delayed"] * 2500, available_at=later)
        broker.enqueue_many(["lapsed"] * 1000)
        claim_all(broker, 1000)
        let_end(broker)

        assert broker.queue_size() == 3500
        found: list[Delivery] = []
        while len(found) < 3500:
            found += broker.claim(1000, LONG)

        assert len({delivery.key for delivery in found}) == 3500

    def test_a_part_that_was_put_in_before_an_error_is_told(
        self, broker: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, answers = broker._queue._run, []

        def run_once(*arguments: Any) -> Any:
            if answers:
                raise redis.ConnectionError("gone")
            answers.append(run(*arguments))
            return answers[0]

        monkeypatch.setattr(broker._queue, "_run", run_once)

        with pytest.raises(EnqueueError, match="1000 of 1500") as told:
            broker.enqueue_many(["urgent"] * 1500, priority=1)

        assert len(told.value.accepted) == 1000

    def test_scripts_are_loaded_once_and_again_where_the_server_forgot_them(
        self, broker: Redis, calls: Any, redis_server: redis_servers.Redis
    ) -> None:
        other = Redis(broker.list_key)

        assert "script|load" not in calls(other.queue_size)
        redis_server.run_command("SCRIPT", "FLUSH")
        assert calls(other.queue_size)["script|load"] == 1
        assert "script|load" not in calls(broker.queue_size)


class TestWhatIsKept:
    def test_undelayed_work_is_bare_in_the_list_of_django_q(self, broker: Redis) -> None:
        broker.enqueue("first")
        broker.enqueue_many(["second", "third"], priority=0)

        assert broker.list_key.startswith("django_q:queue-")
        assert broker.list_key.endswith(":q")
        assert broker.connection.lrange(broker.list_key, 0, -1) == [b"first", b"second", b"third"]
        assert left(broker) == {"list"}

    def test_an_enqueue_answers_with_the_place_in_the_list(self, broker: Redis) -> None:
        assert broker.enqueue("first") == 1
        assert broker.enqueue_many(["second", "third"]) == [2, 3]

    def test_a_broker_is_made_from_the_key_of_another(self, broker: Redis) -> None:
        assert Redis(broker.list_key).list_key == broker.list_key
        assert Redis("name").list_key == "django_q:name:q"
        assert Redis().list_key == "django_q:tests:q"

    def test_nothing_but_the_last_number_is_left_of_what_is_done(self, broker: Redis) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)
        broker.enqueue_many(["bare", "bare"])
        broker.enqueue("urgent", priority=7)
        broker.enqueue("delayed", available_at=later)
        let_end(broker)
        found = claim_all(broker, 4)
        broker.release(receipts(found[:2]), delay=5, count=True)
        let_end(broker)
        found = found[2:] + claim_all(broker, 2, lease=0.01)
        let_end(broker)
        found = found[:2] + claim_all(broker, 2)

        assert broker.acknowledge_many(receipts(found)) == []

        assert left(broker) == {"counter"}

    @pytest.mark.parametrize("method", ["purge_queue", "delete_queue"])
    def test_nothing_at_all_is_left_of_a_queue_that_is_emptied(
        self, broker: Redis, method: str
    ) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)
        broker.enqueue_many(["a", "b"])
        claim_all(broker, 1)
        broker.enqueue("urgent", priority=7)
        broker.enqueue("delayed", available_at=later)

        getattr(broker, method)()

        assert left(broker) == set()
        assert not broker.connection.keys(f"*{broker.list_key}*")

    def test_a_package_that_somebody_removed_leaves_no_trace(self, broker: Redis) -> None:
        broker.enqueue("urgent", priority=7)
        broker.connection.delete(keys_of(broker.list_key)[5])
        broker.enqueue("still there")

        found = broker.claim(10, LONG)

        assert packages(found) == [b"still there"]
        broker.acknowledge_many(receipts(found))
        assert left(broker) == {"counter"}


class TestOrder:
    def test_urgent_work_comes_first_and_what_can_wait_last(self, broker: Redis) -> None:
        broker.enqueue("some day", priority=-1)
        broker.enqueue("list")
        broker.enqueue("urgent", priority=1)
        broker.enqueue("most urgent", priority=100)
        broker.enqueue("last of all", priority=-100)

        expected = [b"most urgent", b"urgent", b"list", b"some day", b"last of all"]
        assert packages(broker.claim(10, LONG)) == expected

    def test_what_came_back_is_before_the_list_and_behind_what_is_urgent(
        self, broker: Redis
    ) -> None:
        broker.enqueue_many(["lapsed", "given back"])
        _lapsed, given_back = claim_all(broker, 2, lease=0.01)
        broker.release([given_back.receipt])
        broker.enqueue("list")
        broker.enqueue("urgent", priority=1)
        let_end(broker)

        expected = [b"urgent", b"lapsed", b"given back", b"list"]
        assert packages(claim_all(broker, 4)) == expected

    def test_equal_priorities_come_in_the_order_of_their_enqueues(self, broker: Redis) -> None:
        sent = [f"package-{number:02}" for number in range(30)]
        broker.enqueue_many(sent[:15], priority=4)
        for package in sent[15:]:
            broker.enqueue(package, priority=4)

        assert packages(broker.claim(30, LONG)) == [package.encode() for package in sent]

    def test_a_priority_outlives_a_release(self, broker: Redis) -> None:
        broker.enqueue("some day", priority=-3)
        (held,) = claim_all(broker, 1)
        broker.enqueue("list")
        broker.release([held.receipt], delay=5, count=True)
        let_end(broker)

        assert packages(claim_all(broker, 2)) == [b"list", b"some day"]

    def test_a_time_that_is_past_is_no_delay(self, broker: Redis) -> None:
        broker.enqueue("at once", available_at=SOON)

        assert packages(broker.claim(1, LONG)) == [b"at once"]

    def test_the_end_of_time_is_a_delay(self, broker: Redis) -> None:
        broker.enqueue("never", available_at=datetime(9999, 12, 31, tzinfo=UTC))

        assert (broker.queue_size(), broker.lock_size()) == (0, 1)

    @pytest.mark.parametrize("priority", [101, -101])
    def test_a_priority_out_of_range_is_refused(self, broker: Redis, priority: int) -> None:
        with pytest.raises(TaskRefused, match="-100 to 100"):
            broker.enqueue("package", priority=priority)


class TestAfterALoss:
    def test_a_server_that_was_emptied_under_a_cluster_is_used_on(self, broker: Redis) -> None:
        broker.enqueue_many(["a", "b"])
        found = claim_all(broker, 2)
        broker.delete_queue()  # as FLUSHALL does, or a restart without a disk
        broker.connection.script_flush()

        assert broker.acknowledge_many(receipts(found)) == receipts(found)
        assert broker.extend(receipts(found), LONG) == dict.fromkeys(receipts(found))
        assert broker.release(receipts(found)) == receipts(found)
        broker.enqueue("new")
        assert packages(claim_all(broker, 1)) == [b"new"]

    def test_a_receipt_from_before_a_failover_has_no_power_over_a_number_given_again(
        self, broker: Redis
    ) -> None:
        counter = keys_of(broker.list_key)[6]
        broker.enqueue("lost in the failover")
        (old,) = claim_all(broker, 1)
        broker.delete_queue()  # the replica had not heard of it, nor of its number
        broker.enqueue("of the same number")
        (new,) = claim_all(broker, 1)

        assert broker.connection.get(counter) == b"1"
        assert broker.acknowledge_many([old.receipt]) == [old.receipt]
        assert broker.extend([old.receipt], LONG) == {old.receipt: None}
        assert broker.release([old.receipt]) == [old.receipt]
        assert new.key != old.key
        assert broker.acknowledge_many([new.receipt]) == []

    def test_the_number_of_a_package_alone_is_no_receipt(self, broker: Redis) -> None:
        broker.enqueue("package")
        (held,) = claim_all(broker, 1)

        refused = [held.key, f"{held.key}.", f"{held.key}.0", "", "nonsense"]

        assert broker.acknowledge_many(refused) == refused
        assert broker.lock_size() == 1

    def test_a_site_that_seeds_random_gets_claims_of_its_own(self) -> None:
        random.seed(4)
        one = leased.new_claim()
        random.seed(4)

        assert leased.new_claim() != one


class TestWithoutReceipts:
    @pytest.fixture(autouse=True)
    def _without(self, broker: Redis, settings: Settings) -> None:
        settings.Q_CLUSTER = settings.Q_CLUSTER | {"redis_receipts": False}

    def test_what_is_claimed_is_nowhere_else(self, broker: Redis, calls: Any) -> None:
        broker = Redis(broker.list_key)
        broker.enqueue_many(["a", "b", "c"])

        assert calls(lambda: broker.claim(2, LONG)) == {"lpop": 1}
        assert broker.connection.lrange(broker.list_key, 0, -1) == [b"c"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("said", "told"),
        [
            ("MISCONF Redis is configured to save RDB snapshots", "takes nothing for the moment"),
            ("NOREPLICAS Not enough good replicas to write.", "takes nothing for the moment"),
            ("Error running script: -OOM command not allowed", "out of memory"),
        ],
    )
    def test_what_the_server_may_take_later_is_an_outage(
        self, broker: Redis, said: str, told: str
    ) -> None:
        with pytest.raises(BrokerUnavailable, match=told), broker._server():
            raise redis.ResponseError(said)

    def test_what_it_will_never_take_is_none(self, broker: Redis) -> None:
        broker.connection.set(broker.list_key, "no list")

        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            broker.enqueue("package")

    def test_too_few_replicas_are_an_outage(
        self, broker: Redis, redis_server: redis_servers.Redis
    ) -> None:
        redis_server.run_command("CONFIG", "SET", "min-replicas-to-write", "1")
        try:
            with pytest.raises(BrokerUnavailable, match="replicas"):
                broker.enqueue("list")
            with pytest.raises(BrokerUnavailable, match="replicas"):
                broker.enqueue("script", priority=1)
        finally:
            redis_server.run_command("CONFIG", "SET", "min-replicas-to-write", "0")

    def test_the_sentence_names_the_server(self) -> None:
        error = unavailable("Redis at here:1", redis.TimeoutError("Timeout"))

        assert str(error).startswith("Redis at here:1 does not answer: Timeout.")
