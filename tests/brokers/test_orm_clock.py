"""Leases and delays follow the database's clock, however wrong the clocks of its clients are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from django_q.brokers.base import Package
from django_q_broker_orm.broker import ORM
from django_q_broker_orm.clock import Clock
from tests.brokers.conftest import on_servers
from tests.brokers.orm_database import rolled_back

pytestmark = on_servers


@pytest.fixture
def right(queue: str) -> Iterator[ORM]:
    broker = ORM()
    yield broker
    broker.close()


@pytest.fixture(params=[1, -1], ids=["an hour fast", "an hour slow"])
def wrong(request: pytest.FixtureRequest, queue: str) -> ORM:
    """Return the broker of another machine."""
    error = timedelta(hours=request.param)
    broker = ORM()
    broker._clock = Clock(queue, lambda: datetime.now(UTC) + error)
    return broker


def claimed(broker: ORM) -> list[Package]:
    """What can be claimed within a second: two clocks never agree to the millisecond."""
    return [delivery.package for delivery in broker.claim(10, 60)]


def claimed_at_once(broker: ORM) -> list[Package]:
    """What can be claimed without waiting; it is given back."""
    with rolled_back(broker.alias):
        return claimed(broker)


class TestAWrongClock:
    def test_its_packages_are_claimed_at_once(self, right: ORM, wrong: ORM) -> None:
        wrong.enqueue("one")
        first = claimed(right)
        wrong.enqueue_many(["two"])

        assert (first, claimed(right)) == (["one"], ["two"])

    def test_its_claims_hold_for_their_lease(self, right: ORM, wrong: ORM) -> None:
        right.enqueue_many(["long", "short"])
        wrong.claim(1, 60)
        wrong.claim(1, 0)

        assert claimed(right) == ["short"]
        assert claimed_at_once(right) == []

    def test_it_leaves_alone_what_others_hold(self, right: ORM, wrong: ORM) -> None:
        right.enqueue_many(["held", "lapsed"])
        (held,) = right.claim(1, 60)
        right.claim(1, 0)

        assert claimed(wrong) == ["lapsed"]
        assert right.acknowledge_many([held.receipt]) == []

    def test_its_extensions_hold(self, right: ORM, wrong: ORM) -> None:
        right.enqueue("package")
        (delivery,) = right.claim(1, 0)

        wrong.extend([delivery.receipt], 60)

        assert claimed_at_once(right) == []
        assert (wrong.queue_size(), wrong.lock_size()) == (0, 1)

    def test_its_releases_come_when_they_should(self, right: ORM, wrong: ORM) -> None:
        right.enqueue_many(["now", "later"])
        now, later = right.claim(2, 3600)

        wrong.release([now.receipt])
        wrong.release([later.receipt], delay=60)

        assert claimed(right) == ["now"]
        assert claimed_at_once(right) == []

    def test_it_is_told_of_once(
        self, right: ORM, wrong: ORM, caplog: pytest.LogCaptureFixture
    ) -> None:
        right.enqueue_many(["a", "b", "c"])

        with caplog.at_level(logging.WARNING, "django-q"):
            for broker in (wrong, wrong, wrong, right):
                claimed_at_once(broker)

        (record,) = caplog.records
        assert "differ by" in record.getMessage()


def test_times_are_kept_as_the_site_keeps_them(queue: str, settings: Settings) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Pacific/Auckland"
    broker = ORM()
    broker.join_cluster()
    broker.enqueue("now")
    broker.enqueue("later", available_at=datetime.now(UTC) + timedelta(hours=1))
    (delivery,) = broker.claim(2, 60)

    assert delivery.package == "now"
    assert claimed_at_once(broker) == []
    assert (broker.queue_size(), broker.lock_size()) == (0, 2)
    assert abs(broker._clock.offset) < timedelta(minutes=1)
    broker.close()
