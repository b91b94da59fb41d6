"""Tells Django Q of the broker; imported by every process, so it imports nothing heavy."""

from django_q.plugins import BrokerEntry, hookimpl


@hookimpl
def django_q_brokers() -> list[BrokerEntry]:
    """Name the broker and the key of `Q_CLUSTER` that chooses it."""
    return [
        BrokerEntry(
            name="filesystem",
            path="django_q_broker_filesystem.broker.Filesystem",
            keys=("filesystem",),
            install="django-q-broker-filesystem",
        )
    ]
