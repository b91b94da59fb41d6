"""Tells Django Q that the MongoDB broker is installed, without importing it."""

from __future__ import annotations

from django_q.plugins import BrokerEntry, hookimpl


@hookimpl
def django_q_brokers() -> list[BrokerEntry]:
    """The broker that `Q_CLUSTER["mongo"]` asks for."""
    return [
        BrokerEntry(
            name="mongo",
            path="django_q_broker_mongo.broker.Mongo",
            keys=("mongo",),
            install="django-q-core[mongo]",
        )
    ]
