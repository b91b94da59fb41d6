"""Our brokers keep the contract that third parties' brokers are held to."""

from django_q.brokers.base import Broker
from django_q.brokers.memory import Memory
from django_q_testkit import BrokerConformance


class TestMemory(BrokerConformance):
    """The memory broker, whose clock the suite puts forward."""

    def make_broker(self, list_key: str) -> Broker:
        return Memory(list_key)
