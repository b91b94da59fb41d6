"""Tells Django Q that the Redis broker is installed, without importing it."""

from __future__ import annotations

from django_q.plugins import BrokerEntry, hookimpl


@hookimpl
def django_q_brokers() -> list[BrokerEntry]:
    """The broker that `Q_CLUSTER["redis"]` or `Q_CLUSTER["django_redis"]` asks for."""
    return [
        BrokerEntry(
            name="redis",
            path="django_q_broker_redis.broker.Redis",
            keys=("redis", "django_redis"),
            install="django-q-core[redis]",
        )
    ]
