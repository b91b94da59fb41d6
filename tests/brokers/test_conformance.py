"""Our brokers keep the contract that third parties' brokers are held to."""

from datetime import timedelta

import pytest

from django_q.brokers.base import Broker
from django_q.brokers.memory import Memory
from django_q.models import OrmQ
from django_q_broker_orm.broker import ORM
from django_q_testkit import BrokerConformance


class TestMemory(BrokerConformance):
    """The memory broker, whose clock the suite puts forward."""

    def make_broker(self, list_key: str) -> Broker:
        return Memory(list_key)


@pytest.mark.django_db(transaction=True)
class TestORM(BrokerConformance):
    """The ORM broker on the test database, in memory as most projects have it; for time to
    pass, what is written about time is moved into the past."""

    def make_broker(self, list_key: str) -> Broker:
        return ORM(list_key)

    def elapse(self, broker: Broker, seconds: float) -> None:
        for row in OrmQ.objects.filter(key=broker.list_key, lock__isnull=False):
            row.lock -= timedelta(seconds=seconds)
            row.save(update_fields=["lock"])
