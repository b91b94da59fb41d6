"""The SQS broker keeps the contract, on standard queues and on FIFO queues."""

from __future__ import annotations

import os

import pytest
from pytest_django import Settings

from django_q.brokers.base import Broker
from django_q_broker_sqs import clock
from django_q_broker_sqs.broker import Sqs
from django_q_testkit import BrokerConformance
from tests import sqs_server

REGION = os.environ.get("DJANGO_Q_TEST_SQS_REGION")
"""Where the real service is to be tested too, with the credentials that boto3 finds."""


@pytest.fixture
def server(sqs: sqs_server.Sqs) -> sqs_server.Sqs:
    """Return the server, with the time that everybody has."""
    sqs.be_punctual()
    return sqs


class OnSqs(BrokerConformance):
    """The broker, and a clock that it shares with the server."""

    lease = 20.0
    keeps_order = False
    accepts_late_receipts = False
    sequences = 8
    suffix = ""

    @pytest.fixture(autouse=True)
    def _queue(
        self,
        server: sqs_server.Sqs,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings.Q_CLUSTER = {"name": "tests", "sqs": server.settings()}
        self.server = server
        self.list_keys = set[str]()
        since_boot, time_of_day = clock.since_boot, clock.time_of_day
        monkeypatch.setattr(clock, "since_boot", lambda: since_boot() + server.put_forward)
        monkeypatch.setattr(clock, "time_of_day", lambda: time_of_day() + server.put_forward)

    def make_broker(self, list_key: str) -> Broker:
        if list_key not in self.list_keys:
            # A new test, or a new sequence, has the time that everybody has.
            self.list_keys.add(list_key)
            self.server.be_punctual()
        return Sqs(list_key + self.suffix)

    def elapse(self, broker: Broker, seconds: float) -> None:
        self.server.advance(seconds)


class TestSqs(OnSqs):
    """A standard queue."""


class TestSqsFifo(OnSqs):
    """A FIFO queue."""

    sequences = 3
    suffix = ".fifo"


if REGION:

    class TestAmazonSqs(BrokerConformance):
        """A standard queue of the real service, where it is named."""

        lease = 3.0
        keeps_order = False
        accepts_late_receipts = False

        @pytest.fixture(autouse=True)
        def _queue(self, settings: Settings) -> None:
            settings.Q_CLUSTER = {"name": "tests", "sqs": {"aws_region": REGION}}

        def make_broker(self, list_key: str) -> Broker:
            return Sqs(list_key)
