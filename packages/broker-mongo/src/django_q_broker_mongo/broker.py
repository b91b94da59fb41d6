"""The MongoDB broker."""

from __future__ import annotations

from django_q.brokers import Broker


class Mongo(Broker):
    """Keeps a queue in MongoDB."""
