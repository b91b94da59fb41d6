"""On PostgreSQL a blocked claim returns when work is told of, where that can be heard."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import Error, connections
from django.db.transaction import atomic
from pytest_django import DjangoDbBlocker, Settings

from django_q_broker_orm.broker import ORM
from django_q_broker_orm.notifications import ListeningWaiter, channel_of, told_at
from django_q_broker_orm.wake import DEAF_AFTER, Woken
from tests.brokers.conftest import NAME, on_postgresql
from tests.brokers.orm_database import BlockedClaim, registered, rolled_back
from tests.servers import PgBouncer, PostgreSQL

pytestmark = on_postgresql

LISTENED_TO = "SELECT pg_listening_channels()"


@pytest.fixture(autouse=True)
def _nobody_was_told(queue: str) -> None:
    told_at.clear()


@pytest.fixture
def blocked(queue: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockedClaim]:
    """A claim that nothing ends but what the test does."""
    monkeypatch.setattr("django_q_broker_orm.broker.LONGEST_WAIT_SECONDS", 60)
    claim = BlockedClaim()
    yield claim
    claim.ring()
    claim.outcome()
    claim.close()


def listened_to(alias: str) -> list[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(LISTENED_TO)
        return [channel for (channel,) in cursor.fetchall()]


class TestABlockedClaim:
    def test_an_enqueue_wakes_it(self, blocked: BlockedClaim) -> None:
        ORM().enqueue("package")

        assert blocked.outcome() == ["package"]

    def test_a_commit_wakes_it(self, queue: str, blocked: BlockedClaim) -> None:
        with rolled_back(queue):
            ORM().enqueue("never")
        with atomic(using=queue):
            ORM().enqueue("package")

        assert blocked.outcome() == ["package"]

    def test_a_release_wakes_it(self, queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("django_q_broker_orm.broker.LONGEST_WAIT_SECONDS", 60)
        broker = ORM()
        broker.enqueue("package")
        (delivery,) = broker.claim(1, 3600)
        claim = BlockedClaim()

        broker.release([delivery.receipt])

        assert claim.outcome() == ["package"]
        claim.close()

    def test_the_waker_ends_it(self, blocked: BlockedClaim) -> None:
        blocked.ring()

        assert blocked.outcome() == []


class TestListening:
    def test_a_cluster_s_claims_listen(self, broker: ORM, queue: str) -> None:
        broker.enqueue("package")

        broker.claim(1, 60)

        assert listened_to(queue) == [channel_of("tests")]

    def test_a_new_connection_listens_again(
        self, broker: ORM, queue: str, server: PostgreSQL
    ) -> None:
        broker.enqueue_many(["a", "b"])
        broker.claim(1, 60)
        server.cut_connections(NAME)
        with pytest.raises(Error):
            broker.claim(1, 60)

        broker.claim(1, 60)

        assert listened_to(queue) == [channel_of("tests")]

    def test_a_claim_outside_a_cluster_leaves_nothing_behind(self, queue: str) -> None:
        broker = ORM()
        broker.enqueue("package")

        broker.claim(1, 60)

        assert listened_to(queue) == []


@pytest.fixture
def ear(server: PostgreSQL) -> Iterator[Any]:
    """A connection of somebody else's that listens to the queue."""
    with server.connect(NAME) as connection:
        connection.execute(f'LISTEN "{channel_of("tests")}"')
        yield connection


def heard(ear: Any) -> int:
    """Count the notifications that came; the last one is our own."""
    ear.execute("SELECT pg_notify(%s, 'end')", [channel_of("tests")])
    for count, notification in enumerate(ear.notifies(timeout=30)):
        if notification.payload == "end":
            return count
    raise AssertionError("not even our own came")


class TestTelling:
    @pytest.fixture(autouse=True)
    def _slow_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("TELL_APART_SECONDS", "NOTIFIED_SECONDS"):
            monkeypatch.setattr(f"django_q_broker_orm.postgresql.{name}", 3600)

    def test_enqueues_shortly_one_after_the_other_tell_once(self, queue: str, ear: Any) -> None:
        for number in range(5):
            ORM().enqueue(str(number))

        assert heard(ear) == 1

    def test_each_transaction_tells_once(self, queue: str, ear: Any) -> None:
        for _ in range(2):
            with atomic(using=queue):
                for number in range(5):
                    ORM().enqueue(str(number))

        assert heard(ear) == 2

    def test_a_large_batch_tells_once(self, queue: str, ear: Any) -> None:
        ids = ORM().enqueue_many(["package"] * 2500)

        assert heard(ear) == 1
        assert len(set(ids)) == 2500

    def test_one_that_took_too_long_to_be_silent_tells_after_all(
        self, queue: str, ear: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_q_broker_orm.postgresql.NOTIFIED_SECONDS", 0)

        for number in range(3):
            ORM().enqueue(str(number))

        assert heard(ear) == 3


class TestDeafness:
    @pytest.fixture
    def waiter(self, broker: ORM, queue: str, monkeypatch: pytest.MonkeyPatch) -> ListeningWaiter:
        """Return a waiter that listens, and hears nothing of what is found."""
        monkeypatch.setattr("django_q_broker_orm.notifications.NOTIFIED_SECONDS", 0)
        waiter = ListeningWaiter(queue, "tests", 0.2)
        waiter.before_looking()
        return waiter

    def find_unannounced_work(self, waiter: ListeningWaiter) -> None:
        for _ in range(DEAF_AFTER):
            waiter.wait(0)
            waiter.before_looking()
            waiter.found_work()

    def test_work_of_producers_that_tell_nobody_is_no_deafness(
        self, waiter: ListeningWaiter, queue: str
    ) -> None:
        self.find_unannounced_work(waiter)

        assert listened_to(queue) == [channel_of("tests")]
        waiter.close()

    def test_while_there_are_such_producers_it_looks_as_often_as_they_need(
        self, waiter: ListeningWaiter
    ) -> None:
        self.find_unannounced_work(waiter)

        assert waiter._longest_pause() == 0.2
        waiter.close()

    def test_lost_notifications_are_noticed(
        self,
        waiter: ListeningWaiter,
        queue: str,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("django_q_broker_orm.notifications.TEST_SECONDS", 0.1)
        connections[queue].cursor().execute("UNLISTEN *")

        with caplog.at_level(logging.INFO, "django-q"):
            self.find_unannounced_work(waiter)

        assert waiter._ear is None
        assert "No notification arrives from database 'queue'" in caplog.text
        assert waiter.wait(0) is Woken.TIME


class TestBehindAPooler:
    @pytest.fixture
    def pooled(
        self,
        server: PostgreSQL,
        settings: Settings,
        django_db_blocker: DjangoDbBlocker,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[PgBouncer]:
        """Yield a pooler in transaction mode, behind which the queue lies."""
        monkeypatch.setattr("django_q_broker_orm.notifications.TEST_SECONDS", 0.1)
        settings.Q_CLUSTER = {"name": "tests", "orm": "pooled"}
        bouncer = PgBouncer(server)
        try:
            bouncer.start()
            with django_db_blocker.unblock(), registered(bouncer.settings(NAME), "pooled"):
                yield bouncer
        finally:
            bouncer.close()

    def test_it_says_so_once_and_polls(
        self, pooled: PgBouncer, caplog: pytest.LogCaptureFixture
    ) -> None:
        broker = ORM()
        broker.join_cluster()
        broker.enqueue_many(["a", "b"])

        with caplog.at_level(logging.INFO, "django-q"):
            for _ in range(2):
                assert len(broker.claim(1, 60)) == 1
                broker.close()

        assert caplog.text.count("No notification arrives") == 1

    def test_it_leaves_no_connection_listening_for_others(self, pooled: PgBouncer) -> None:
        broker = ORM()
        broker.join_cluster()
        broker.enqueue("package")

        broker.claim(1, 60)

        with pooled.connect(NAME) as other:
            assert other.execute(LISTENED_TO).fetchall() == []
        broker.close()
