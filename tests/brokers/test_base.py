"""What every broker inherits."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache

from django_q.brokers.base import Broker, Package
from django_q.brokers.memory import Memory
from django_q.conf import Conf
from django_q.errors import EnqueueError, UnsupportedByBroker


class Scripted(Broker):
    """Answers each dequeue with the next line of a script, at once."""

    def __init__(self, *answers: Any) -> None:
        super().__init__("scripted")
        self.answers = list(answers)
        self.asked = 0

    def dequeue(self) -> Any:
        self.asked += 1
        return self.answers.pop(0) if self.answers else None


@pytest.fixture
def waker() -> Any:
    """Return the file descriptor of a waker that rings."""
    reader, writer = os.pipe()
    os.write(writer, b"!")
    yield reader
    os.close(reader)
    os.close(writer)


def test_a_claim_asks_again_until_work_arrives() -> None:
    broker = Scripted(None, [], [(7, "package")])

    [delivery] = broker.claim(1, 60)

    assert (delivery.key, delivery.receipt, delivery.package) == ("7", 7, "package")
    assert broker.asked == 3


def test_a_claim_gives_up_after_about_a_second_of_asking() -> None:
    broker = Scripted()

    assert broker.claim(1, 60) == []
    assert 2 <= broker.asked <= 6


def test_a_ringing_waker_ends_the_wait(waker: int) -> None:
    broker = Scripted()
    broker.waker = waker

    assert broker.claim(1, 60) == []
    assert broker.asked == 1


def test_a_dequeue_may_be_a_generator() -> None:
    broker = Scripted(pair for pair in [(None, "a"), (None, "b")])

    assert [delivery.package for delivery in broker.claim(2, 60)] == ["a", "b"]


def test_packages_without_receipts_have_keys_of_their_own() -> None:
    broker = Scripted([(None, "same"), (None, "same")])

    first, second = broker.claim(2, 60)

    assert first.key != second.key


def test_no_receipt_is_not_acknowledged() -> None:
    class Strict(Broker):
        def acknowledge(self, receipt: Any) -> None:
            assert receipt is not None

    assert Strict("strict").acknowledge_many([None]) == []


def test_a_batch_that_breaks_off_says_what_was_accepted() -> None:
    class Full(Broker):
        def enqueue(self, package: Package, **options: Any) -> str:
            if package == "c":
                raise OSError("disk full")
            return f"id of {package}"

    with pytest.raises(EnqueueError, match="2 of 4 packages were accepted: disk full") as caught:
        Full("full").enqueue_many(["a", "b", "c", "d"])

    assert caught.value.accepted == ["id of a", "id of b"]


def test_a_batch_of_which_nothing_was_accepted_raises_the_cause() -> None:
    class Broken(Broker):
        def enqueue(self, package: Package, **options: Any) -> str:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Broken("broken").enqueue_many(["a", "b"])


# Capabilities


class Limited(Broker):
    """Declares a limit of each kind."""

    supports_delay = True
    max_delay = 900
    max_package_bytes = 10


def test_a_delay_beyond_the_limit_is_refused_with_both_figures() -> None:
    too_late = datetime.now(UTC) + timedelta(hours=1)

    with pytest.raises(UnsupportedByBroker, match=r"at most 900 s; available_at lies \d+ s ahead"):
        Limited("limited").refuse_unsupported("package", available_at=too_late)


def test_a_size_beyond_the_limit_is_refused_in_bytes_not_in_letters() -> None:
    broker = Limited("limited")

    broker.refuse_unsupported("ä" * 5)
    with pytest.raises(UnsupportedByBroker, match="at most 10 bytes; this one has 12"):
        broker.refuse_unsupported("ä" * 6)


def test_an_option_that_is_none_asks_for_nothing() -> None:
    Broker("plain").refuse_unsupported("package", priority=None, available_at=None)


def test_an_override_in_a_mixin_is_heard_too() -> None:
    seen = []

    class Listening:
        def enqueue(self, package: Package, **options: Any) -> Any:
            seen.append(package)
            return super().enqueue(package, **options)  # type: ignore[misc]

    class Broker_(Listening, Memory):  # noqa: N801
        pass

    broker = Broker_("mixin")
    broker.enqueue_many(["a", "b"])
    broker.delete_queue()

    assert seen == ["a", "b"]


def test_a_class_that_overrides_both_ways_keeps_its_batch_method() -> None:
    class Both(Memory):
        def enqueue(self, package: Package, **options: Any) -> Any: ...

        def enqueue_many(self, packages: list[Package], **options: Any) -> Any:
            return "its own"

    assert Both("both").enqueue_many(["a"]) == "its own"


def test_a_declaration_wins_over_what_an_override_implies() -> None:
    class Declared(Memory):
        supports_bulk = True
        counts_lapses = True

        def dequeue(self) -> Any: ...

    class Silent(Broker):
        supports_receipts = False
        retries_failures = False

        def acknowledge(self, receipt: Any) -> None: ...

    assert Declared.supports_bulk
    assert Declared.counts_lapses
    assert not Declared.counts_attempts
    assert not Silent.supports_receipts
    assert not Silent.retries_failures


# Status in the cache


@pytest.fixture
def broker() -> Broker:
    """Return a broker with an empty cache of its own."""
    broker = Broker("stats")
    broker.cache = LocMemCache("base-stats", {})
    yield broker
    broker.cache.clear()


def test_every_living_stat_is_found_beside_expired_ones(broker: Broker) -> None:
    for name in ("a", "b", "c", "d"):
        broker.set_stat(f"{Conf.Q_STAT}:{name}", name, 60)
    broker.cache.delete_many([f"{Conf.Q_STAT}:b", f"{Conf.Q_STAT}:c"])

    assert broker.get_stats(f"{Conf.Q_STAT}:*") == ["a", "d"]


def test_the_list_of_stats_forgets_what_expired(broker: Broker) -> None:
    broker.set_stat(f"{Conf.Q_STAT}:a", "a", 60)
    broker.cache.delete(f"{Conf.Q_STAT}:a")

    broker.get_stats(f"{Conf.Q_STAT}:*")

    assert broker.cache.get(Conf.Q_STAT) == []


def test_without_a_cache_there_are_no_stats(broker: Broker) -> None:
    cache, broker.cache = broker.cache, None

    broker.set_stat("key", "value", 60)

    assert (broker.get_stat("key"), broker.get_stats("*")) == (None, None)
    broker.cache = cache
