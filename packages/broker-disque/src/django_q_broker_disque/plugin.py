"""Tells Django Q that the Disque broker is installed, without importing it."""

from __future__ import annotations

from django_q.plugins import BrokerEntry, hookimpl


@hookimpl
def django_q_brokers() -> list[BrokerEntry]:
    """The broker that `Q_CLUSTER["disque_nodes"]` asks for."""
    return [
        BrokerEntry(
            name="disque",
            path="django_q_broker_disque.broker.Disque",
            keys=("disque_nodes",),
            install="django-q-core[disque]",
        )
    ]
