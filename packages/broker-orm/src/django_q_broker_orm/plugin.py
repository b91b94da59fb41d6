"""Tells Django Q that the ORM broker is installed, without importing it."""

from __future__ import annotations

from django_q.plugins import BrokerEntry, hookimpl


@hookimpl
def django_q_brokers() -> list[BrokerEntry]:
    """The broker that `Q_CLUSTER["orm"]`, the alias of a database, asks for."""
    return [
        BrokerEntry(
            name="orm",
            path="django_q_broker_orm.broker.ORM",
            keys=("orm",),
            install="django-q-core[orm]",
        )
    ]
