"""Tells Django Q that the Amazon SQS broker is installed, without importing it."""

from __future__ import annotations

from django_q.plugins import BrokerEntry, hookimpl


@hookimpl
def django_q_brokers() -> list[BrokerEntry]:
    """The broker that `Q_CLUSTER["sqs"]` asks for."""
    return [
        BrokerEntry(
            name="sqs",
            path="django_q_broker_sqs.broker.Sqs",
            keys=("sqs",),
            install="django-q-core[sqs]",
        )
    ]
