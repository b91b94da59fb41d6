"""Tells Django Q that the IronMQ broker is installed, without importing it."""

from __future__ import annotations

from django_q.plugins import BrokerEntry, hookimpl


@hookimpl
def django_q_brokers() -> list[BrokerEntry]:
    """The broker that `Q_CLUSTER["iron_mq"]` asks for."""
    return [
        BrokerEntry(
            name="ironmq",
            path="django_q_broker_ironmq.broker.IronMQBroker",
            keys=("iron_mq",),
            install="django-q-core[ironmq]",
        )
    ]
