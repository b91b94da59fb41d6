"""Brokers, as Django Q2's own tests use them: one package at a time, and the list of stats."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache.backends.locmem import LocMemCache

from django_q.brokers import Broker, get_broker
from django_q.conf import Conf


class CountingCache(LocMemCache):
    """Notes the keys that are written."""

    def __init__(self) -> None:
        super().__init__(uuid4().hex, {})
        self.written: list[str] = []

    def set(self, key: str, *args: Any, **kwargs: Any) -> None:
        self.written.append(key)
        super().set(key, *args, **kwargs)


@pytest.fixture
def broker() -> Iterator[Broker]:
    """Yield the base class, which is a broker that keeps nothing but stats."""
    broker = Broker("stats")
    broker.cache = CountingCache()
    yield broker
    broker.cache.clear()


@pytest.fixture
def orm(settings: Any) -> Any:
    """Return the ORM broker on a queue of the test's own, as the settings choose it."""
    settings.Q_CLUSTER = {"name": "tests", "orm": "default", "retry": 1, "poll": 0.02}
    return get_broker(list_key=f"orm-{uuid4().hex[:8]}")


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true within 10 s"
        time.sleep(0.02)


# The base class


def test_a_base_broker_answers_every_call_without_a_server(broker: Broker) -> None:
    broker.enqueue("test")
    broker.purge_queue()
    broker.delete("id")
    broker.delete_queue()
    broker.acknowledge("id")
    broker.fail("id")

    assert not broker.dequeue()
    assert (broker.queue_size(), broker.lock_size(), broker.ping()) == (0, 0, True)
    assert broker.info()


def test_a_stat_is_read_alone_and_in_the_list_of_all(broker: Broker) -> None:
    before = broker.get_stat("test_1")
    broker.set_stat("test_1", "test", 3)

    assert before is None
    assert broker.get_stat("test_1") == "test"
    assert broker.get_stats("test:*") == ["test"]


def test_a_cache_that_is_not_configured_keeps_no_stats(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conf, "CACHE", "not_configured")
    cache, broker.cache = broker.cache, broker.get_cache()

    broker.set_stat("test_1", "test", 3)

    assert broker.get_stat("test_1") is None
    assert broker.get_stats("test:*") is None
    broker.cache = cache


def test_a_new_stat_takes_those_that_expired_off_the_list(broker: Broker) -> None:
    broker.set_stat("dead", "a", 3)
    broker.set_stat("alive", "b", 3)
    broker.cache.delete("dead")

    broker.set_stat("new", "c", 3)

    assert broker.cache.get(Conf.Q_STAT) == ["alive", "new"]


def test_a_stat_that_is_renewed_leaves_the_list_as_it_is(broker: Broker) -> None:
    for _ in range(4):
        broker.set_stat("same", "a", 3)

    assert broker.cache.written.count(Conf.Q_STAT) == 1
    assert broker.cache.written.count("same") == 4


# The choice


@pytest.mark.django_db
def test_a_broker_class_that_is_assigned_to_conf_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "BROKER_CLASS", "django_q.brokers.orm.ORM")

    broker = get_broker()

    assert type(broker).__name__ == "ORM"
    assert broker.ping() is True
    assert broker.info()


# The queue's name


def test_a_broker_serves_the_queue_whose_name_is_assigned_to_it(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "memory": {}}
    broker, other = get_broker(f"a-{uuid4().hex[:8]}"), get_broker(f"b-{uuid4().hex[:8]}")

    broker.list_key = other.list_key
    broker.enqueue("test")

    assert broker.queue_size() == other.queue_size() == 1
    assert [package for _, package in other.dequeue() or []] == ["test"]


# The ORM broker, by the methods of 1.x


@pytest.mark.django_db
def test_a_dequeued_package_is_locked_until_it_is_acknowledged(orm: Broker) -> None:
    orm.enqueue("test")
    assert (orm.queue_size(), orm.lock_size()) == (1, 0)

    [(receipt, package)] = orm.dequeue() or []

    assert package == "test"
    assert (orm.queue_size(), orm.lock_size()) == (0, 1)
    orm.acknowledge(receipt)
    orm.acknowledge(receipt)
    assert (orm.queue_size(), orm.lock_size()) == (0, 0)


@pytest.mark.django_db
def test_an_unacknowledged_package_is_dequeued_again_after_retry(orm: Broker) -> None:
    orm.enqueue("test")
    orm.dequeue()
    assert orm.queue_size() == 0

    wait_until(lambda: orm.queue_size() == 1)

    [(receipt, package)] = orm.dequeue() or []
    assert package == "test"
    orm.acknowledge(receipt)
    assert (orm.queue_size(), orm.lock_size()) == (0, 0)


@pytest.mark.django_db
@pytest.mark.parametrize("remove", ["delete", "fail"])
def test_a_waiting_package_is_removed_by_the_id_that_enqueue_returned(
    orm: Broker, remove: str
) -> None:
    task_id = orm.enqueue("test")

    getattr(orm, remove)(task_id)

    assert (orm.queue_size(), orm.lock_size()) == (0, 0)
    assert not orm.dequeue()


@pytest.mark.django_db
def test_bulk_says_how_many_packages_one_dequeue_brings(
    orm: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conf, "BULK", 5)
    for _ in range(6):
        orm.enqueue("test")

    pairs = orm.dequeue() or []

    assert len(pairs) == orm.lock_size() == 5
    for receipt, _ in pairs:
        orm.acknowledge(receipt)
    assert (orm.queue_size(), orm.lock_size()) == (1, 0)


@pytest.mark.django_db
def test_a_deleted_queue_has_nothing_in_it(orm: Broker) -> None:
    orm.enqueue("test")
    orm.enqueue("test")

    orm.delete_queue()

    assert (orm.queue_size(), orm.dequeue()) == (0, None)
