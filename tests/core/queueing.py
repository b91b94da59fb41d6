"""A queue in memory, and a cluster's work in one loop, for the tests of the API."""

from typing import Any
from uuid import uuid4

from django.core.cache import caches
from django.db import transaction

from django_q import package, records
from django_q.brokers import Broker, get_broker
from django_q.conf import get_settings
from django_q.tasks import execution
from django_q.tasks.hooks import run_hook


def memory_queue(**options: Any) -> dict[str, Any]:
    """A Q_CLUSTER with a queue in memory that no other test shares."""
    return {"name": f"tests-{uuid4().hex[:8]}", "memory": {}, **options}


def waiting() -> list[dict[str, Any]]:
    """The task dicts that wait in the queue, which is then empty."""
    broker = get_broker()
    deliveries = claim_all(broker)
    broker.acknowledge_many([each.receipt for each in deliveries])
    return [package.loads(each.package) for each in deliveries]


def claim_all(broker: Broker) -> list[Any]:
    return broker.claim(1000, 60) if broker.queue_size() else []


def drain(limit: int = 100) -> list[dict[str, Any]]:
    """Work off what waits, and what that enqueues; return the task dicts in order."""
    done: list[dict[str, Any]] = []
    broker = get_broker()
    while len(done) < limit and (deliveries := claim_all(broker)):
        for delivery in deliveries:
            done.append(work_off(package.loads(delivery.package), broker))
            broker.acknowledge(delivery.receipt)
    return done


def work_off(task: dict[str, Any], broker: Broker) -> dict[str, Any]:
    """Run one task and record it as a cluster would."""
    settings = get_settings()
    outcome = execution.perform(task, settings).outcome
    using = records.database()
    with transaction.atomic(using=using):
        records.write([outcome], using)
    completed: list[records.Outcome] = []
    if outcome.item is not None:
        with transaction.atomic(using=using):
            completed = records.collate({outcome.item.group: outcome.item}, using)
    for each in (outcome, *completed):
        if each.cache is not None:
            records.cache_write(each.cache, caches[settings.cache])
    if task.get("hook"):
        run_hook(task["hook"], records.load_task(outcome))
    if outcome.link is not None:
        broker.enqueue(outcome.link.package)
    return task


# Functions that tests queue


def add(a: int, b: int = 0) -> int:
    return a + b


def options_of(**kwargs: Any) -> dict[str, Any]:
    return kwargs


def fail(message: str = "as asked") -> None:
    raise ValueError(message)


def nothing() -> None:
    """Return None, which is a result too."""


hooked: list[Any] = []


def hook(task: Any) -> None:
    hooked.append(task)


def failing_hook(task: Any) -> None:
    raise RuntimeError("the hook failed")


def generator() -> Any:
    yield 1
