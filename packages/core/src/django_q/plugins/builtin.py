"""What core itself brings, registered through the hooks that every plugin uses."""

from __future__ import annotations

from django_q.plugins.entries import BrokerEntry
from django_q.plugins.hookspecs import hookimpl


@hookimpl
def django_q_brokers() -> list[BrokerEntry]:
    """The memory broker: one process, for tests and sync mode."""
    return [
        BrokerEntry(
            name="memory",
            path="django_q.brokers.memory.Memory",
            keys=("memory",),
            install="django-q-core",
        )
    ]
