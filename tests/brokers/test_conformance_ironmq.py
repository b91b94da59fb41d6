"""The IronMQ broker keeps the contract, on our stub and on the real service where there is one."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from django_q.brokers.base import Broker
from django_q_broker_ironmq.broker import IronMQBroker
from django_q_testkit import BrokerConformance
from tests.ironmq_server import IronMQ, real_service


class OnIronMQ(BrokerConformance):
    """What is known of IronMQ v3, wherever it runs."""

    lease = 30.0
    accepts_late_receipts = False
    tells_lock_size = False

    def make_broker(self, list_key: str) -> Broker:
        return IronMQBroker(list_key)


class TestIronMQ(OnIronMQ):
    """The stub, whose clock is put forward."""

    @pytest.fixture(autouse=True)
    def _queue(self, ironmq: IronMQ, settings: Settings) -> None:
        self.server = ironmq
        settings.Q_CLUSTER = {"name": "tests", "poll": 0.05, "iron_mq": ironmq.settings()}

    def elapse(self, broker: Broker, seconds: float) -> None:
        self.server.advance(seconds)


if real_service() is not None:

    class TestRealIronMQ(OnIronMQ):
        """The service that the environment names; leases of 30 seconds are waited for."""

        @pytest.fixture(autouse=True)
        def _queue(self, settings: Settings) -> None:
            settings.Q_CLUSTER = {"name": "tests", "iron_mq": real_service()}
