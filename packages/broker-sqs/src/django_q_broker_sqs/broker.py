"""The Amazon SQS broker."""

from __future__ import annotations

from django_q.brokers import Broker


class Sqs(Broker):
    """Keeps a queue in Amazon SQS."""
