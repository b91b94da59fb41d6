"""What pytest finds of the testkit: fixtures for projects whose code enqueues tasks, and the report
on brokers; nothing happens unless a test asks for one or tests a broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from django_q_testkit.capability_report import pytest_runtest_makereport, pytest_terminal_summary

if TYPE_CHECKING:
    from django_q.brokers.memory import Memory

__all__ = [
    "django_q_sync",
    "enqueued_tasks",
    "memory_broker",
    "pytest_runtest_makereport",
    "pytest_terminal_summary",
]

# Imports of Django and Django Q stay inside: pytest loads this before a project is configured.


@pytest.fixture
def django_q_sync() -> Iterator[None]:
    """Run every task at once, in the process that enqueues it; its exceptions reach the test."""
    with cluster_settings(sync=True):
        yield


@pytest.fixture
def memory_broker() -> Iterator[Memory]:
    """Enqueue into an empty queue in memory, which nothing runs: look at what is in it."""
    from django_q.brokers.memory import Memory

    queue = f"test-{uuid4().hex[:12]}"
    path = f"{Memory.__module__}.{Memory.__qualname__}"
    with cluster_settings(broker_class=path, cluster_name=queue, sync=False):
        broker = Memory(queue)
        yield broker
        broker.delete_queue()


@pytest.fixture
def enqueued_tasks(memory_broker: Memory) -> Callable[[], list[dict[str, Any]]]:
    """Return a function that lists the task dicts waiting in the memory broker."""
    from django_q import package

    return lambda: [dict(package.loads(text)) for text in memory_broker.packages()]


@contextmanager
def cluster_settings(**options: Any) -> Iterator[None]:
    """Let these keys of Q_CLUSTER hold for a while."""
    from django.conf import settings
    from django.test import override_settings

    with override_settings(Q_CLUSTER={**getattr(settings, "Q_CLUSTER", {}), **options}):
        yield
