"""The Disque broker keeps the contract, on a stub of Disque or on real nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from django_q.brokers.base import Broker
from django_q_broker_disque.broker import Disque
from django_q_testkit import BrokerConformance
from tests.disque_server import REAL_NODES, DisqueStub, RealDisque, disque


@pytest.fixture(scope="module")
def several_nodes() -> Iterator[DisqueStub]:
    """Yield three nodes of the stub that want a password."""
    nodes = DisqueStub(nodes=3, password="let me in")
    nodes.start()
    yield nodes
    nodes.close()


@pytest.fixture(scope="module")
def nodes() -> Iterator[DisqueStub | RealDisque]:
    """Yield the nodes to test with."""
    nodes = disque()
    nodes.start()
    yield nodes
    nodes.close()


class OnDisque(BrokerConformance):
    """The broker on nodes that a fixture names."""

    lease = 20.0
    lease_is_fixed = True

    nodes: DisqueStub | RealDisque

    def make_broker(self, list_key: str) -> Broker:
        return Disque(list_key)

    def elapse(self, broker: Broker, seconds: float) -> None:
        self.nodes.advance(seconds)

    @pytest.fixture(autouse=True)
    def _queue(self, nodes: DisqueStub | RealDisque, settings: Settings) -> None:
        self.nodes = nodes
        settings.Q_CLUSTER = self.q_cluster()

    def q_cluster(self) -> dict[str, object]:
        return {"name": "tests", "retry": self.lease} | self.nodes.settings()


class TestDisque(OnDisque):
    """With ACKJOB."""

    lease = 4.0 if REAL_NODES else 20.0


class TestDisqueThatIsAcknowledgedFast(OnDisque):
    """With FASTACK, of several nodes that want a password."""

    sequences = 5

    @pytest.fixture
    def nodes(self, several_nodes: DisqueStub) -> DisqueStub:
        """Return nodes that want a password."""
        return several_nodes

    def q_cluster(self) -> dict[str, object]:
        return super().q_cluster() | {"disque_fastack": True}
