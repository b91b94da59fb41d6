"""Counting, emptying, asking and naming: what commands, pages and processes need of a broker."""

from __future__ import annotations

import pickle
from uuid import uuid4

import pytest
from django.core.cache.backends.locmem import LocMemCache

from django_q.brokers.base import Broker
from django_q.conf import Conf
from django_q_testkit.conformance.asked import asked
from django_q_testkit.conformance.bench import (
    Bench,
    MakeBroker,
    claim_now,
    claim_one,
    collect,
    enqueue,
    needs,
    texts,
)

NEEDS_RECEIPTS = (
    "supports_lease_renewal",
    "supports_release",
    "counts_lapses",
    "counts_attempts",
    "retries_failures",
)


class Housekeeping(Bench):
    """All of the contract that moves no package."""

    def test_capabilities_agree_with_each_other(self, broker: Broker) -> None:
        if not broker.supports_receipts:
            assert [name for name in NEEDS_RECEIPTS if getattr(broker, name)] == []
        assert broker.max_delay is None or broker.supports_delay

    # Counts

    def test_queue_size_counts_what_waits(self, broker: Broker) -> None:
        assert broker.queue_size() == 0

        enqueue(broker, *"abc")

        assert broker.queue_size() == 3

    def test_claimed_work_does_not_wait(self, broker: Broker) -> None:
        enqueue(broker, *"abc")
        claim_one(broker)

        assert broker.queue_size() == 2

    def test_lock_size_counts_what_is_claimed(self, broker: Broker) -> None:
        needs(broker, "supports_receipts")
        if not self.tells_lock_size:
            pytest.skip("the server does not tell how many packages are claimed")
        enqueue(broker, *"abc")
        assert broker.lock_size() == 0

        found = collect(broker, 2)

        assert broker.lock_size() == 2
        broker.acknowledge_many([delivery.receipt for delivery in found])
        assert broker.lock_size() == 0

    # Emptying

    def test_a_purged_queue_is_empty_and_usable(self, broker: Broker) -> None:
        enqueue(broker, *"abc")

        broker.purge_queue()

        assert (broker.queue_size(), claim_now(broker)) == (0, [])
        broker.enqueue("new")
        assert texts(collect(broker, 1)) == ["new"]

    def test_a_deleted_queue_takes_claimed_work_with_it(self, broker: Broker) -> None:
        enqueue(broker, *"abc")
        claim_one(broker, self.lease)

        broker.delete_queue()

        self.let_lapse(broker)
        assert claim_now(broker) == []

    def test_a_deleted_queue_can_be_used_again(self, broker: Broker) -> None:
        broker.delete_queue()

        broker.enqueue("new")

        assert texts(collect(broker, 1)) == ["new"]

    def test_purging_leaves_other_queues_alone(self, new_broker: MakeBroker) -> None:
        broker, other = new_broker(), new_broker("conformance-other")
        other.enqueue("theirs")

        broker.purge_queue()
        broker.delete_queue()

        assert texts(collect(other, 1)) == ["theirs"]

    # Connection

    def test_ping_answers(self, broker: Broker) -> None:
        assert broker.ping()

    def test_info_names_the_broker(self, broker: Broker) -> None:
        info = broker.info()

        assert isinstance(info, str)
        assert info
        asked.info = info

    def test_a_pickled_broker_reaches_the_same_queue(self, broker: Broker) -> None:
        broker.enqueue("sent before")

        copy = pickle.loads(pickle.dumps(broker))

        assert copy.list_key == broker.list_key
        assert texts(collect(copy, 1)) == ["sent before"]
        copy.close()

    def test_it_serves_the_queue_whose_name_is_assigned_to_it(self, new_broker: MakeBroker) -> None:
        broker, other = new_broker(), new_broker("conformance-other")

        broker.list_key = other.list_key
        broker.enqueue("assigned")

        assert texts(collect(other, 1)) == ["assigned"]

    def test_a_closed_broker_opens_itself_again(self, broker: Broker) -> None:
        broker.enqueue("before")

        broker.close()
        broker.close()

        assert texts(collect(broker, 1)) == ["before"]

    # Status

    @pytest.fixture
    def stats_broker(self, broker: Broker) -> Broker:
        """Return a broker whose stats have a place, if need be in a cache of the test's own."""
        asked.about("keeps_stats")
        if not broker.keeps_stats:
            broker.cache = LocMemCache(f"conformance-{uuid4().hex}", {})
        return broker

    def test_a_stat_is_read_back(self, stats_broker: Broker) -> None:
        key = stat_key()

        stats_broker.set_stat(key, "busy", 30)

        assert as_text(stats_broker.get_stat(key)) == "busy"

    def test_an_unknown_stat_is_none(self, stats_broker: Broker) -> None:
        assert stats_broker.get_stat(stat_key()) is None

    def test_a_stat_is_replaced(self, stats_broker: Broker) -> None:
        key = stat_key()
        stats_broker.set_stat(key, "old", 30)

        stats_broker.set_stat(key, "new", 30)

        assert as_text(stats_broker.get_stat(key)) == "new"
        assert self.stats(stats_broker, key) == ["new"]

    def test_all_stats_are_listed_but_for_the_expired(self, stats_broker: Broker) -> None:
        # One that is gone between and before living ones: 1.x skipped the next.
        keys = {name: stat_key() for name in ("alive 1", "gone 1", "gone 2", "alive 2")}
        for name, key in keys.items():
            stats_broker.set_stat(key, name, 1 if name.startswith("gone") else 60)

        self.expire_stats(stats_broker, [keys["gone 1"], keys["gone 2"]])

        assert self.stats(stats_broker, *keys.values()) == ["alive 1", "alive 2"]

    def expire_stats(self, broker: Broker, keys: list[str]) -> None:
        """Let stats that were kept for one second end."""
        if broker.keeps_stats:
            self.elapse(broker, 1.1)
        else:
            broker.cache.delete_many(keys)

    def stats(self, broker: Broker, *keys: str) -> list[str]:
        """The listed stats that were kept under one of these keys, sorted."""
        own = {as_text(broker.get_stat(key)) for key in keys} - {None}
        listed = [as_text(stat) for stat in broker.get_stats(f"{Conf.Q_STAT}:*") or []]
        return sorted(stat for stat in listed if stat in own and stat is not None)


def stat_key() -> str:
    return f"{Conf.Q_STAT}:{uuid4()}"


def as_text(stat: str | bytes | None) -> str | None:
    return stat.decode() if isinstance(stat, bytes) else stat
