"""The Disque broker."""

from __future__ import annotations

from django_q.brokers import Broker


class Disque(Broker):
    """Keeps a queue in Disque."""
