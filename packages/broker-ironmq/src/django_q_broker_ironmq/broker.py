"""The IronMQ broker."""

from __future__ import annotations

from django_q.brokers import Broker


class IronMQBroker(Broker):
    """Keeps a queue in IronMQ."""
