"""Builds a task from a call and hands it, signed, to the broker."""

from __future__ import annotations

import logging
import pickle
import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from django_q import package, signals
from django_q.brokers import Broker, get_broker
from django_q.conf import Settings, get_settings, logger
from django_q.errors import (
    BrokerUnavailable,
    DjangoQError,
    EnqueueError,
    TaskRefused,
    UnsupportedByBroker,
)
from django_q.readiness import explain_database_errors, require_ready

TaskDict = dict[str, Any]
Func = str | Callable[..., Any]

OPTIONS = (
    "hook",
    "group",
    "save",
    "sync",
    "cached",
    "ack_failure",
    "iter_count",
    "iter_cached",
    "chain",
    "broker",
    "cluster",
    "timeout",
)
"""The keywords of `async_task` that describe the task and never reach its function."""


def async_task(func: Func, *args: Any, **kwargs: Any) -> str:
    """Queue a call of `func` for the cluster and return the task's id.

    Options: hook, group, save, sync, cached, ack_failure, cluster, timeout, broker, task_name;
    as keywords, or as keys of one dict `q_options`, which wins. All other keywords go to `func`.
    """
    settings = ready_settings()
    task = build(func, args, kwargs, settings)
    broker = task.pop("broker", None)
    signed = finish(task, settings)
    if task.get("sync"):
        return _sync(signed)
    deliver([task], [signed], broker, settings)
    logger.debug("Pushed %s %s", task["name"], task["id"])
    return str(task["id"])


FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


def deliver(
    tasks: list[TaskDict], signed: list[str], broker: Broker | None, settings: Settings
) -> None:
    """Give tasks of one queue to the broker, None being the configured one; while it is
    unavailable give them again, as often as `enqueue_retries` says."""
    pause = FIRST_PAUSE
    for left in range(settings.enqueue_retries, -1, -1):
        try:
            # Made in here: a client may contact its server when it is made.
            _put_all(broker or get_broker(tasks[0].get("cluster")), signed)
        except (BrokerUnavailable, EnqueueError) as error:
            if not left or not _is_outage(error):
                raise
            tasks = tasks[_accepted(error) :]
            logger.warning("%s for the broker: %s", _who_waits(tasks), error)
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)
            # The broker may have taken them, and only the answer was lost.
            signed = [package.dumps(task | {"check": True}) for task in tasks]
        else:
            return


def _put_all(broker: Broker, signed: list[str]) -> None:
    if len(signed) == 1:
        put(broker, signed[0])
    else:
        put_many(broker, signed)


def _is_outage(error: Exception) -> bool:
    return isinstance(error, BrokerUnavailable) or isinstance(error.__cause__, BrokerUnavailable)


def _accepted(error: Exception) -> int:
    """How many of a batch the broker had taken when it was lost."""
    return len(error.accepted) if isinstance(error, EnqueueError) else 0


def _who_waits(tasks: list[TaskDict]) -> str:
    name, others = tasks[0]["name"], len(tasks) - 1
    return f"Task {name} and {others} more wait" if others else f"Task {name} waits"


_ready: Settings | None = None


def ready_settings() -> Settings:
    """The settings in force, of a site that can queue tasks; checked once per change of them."""
    global _ready  # noqa: PLW0603 - saves every enqueue the same questions
    settings = get_settings()
    if settings is not _ready:
        require_ready()
        _ready = settings
    return settings


def build(
    func: Func, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings
) -> TaskDict:
    """The task dict of one call, or TaskRefused for one that could never run or be recorded.

    It still holds the `broker` option, which is the caller's to take out.
    """
    keywords = kwargs.copy()
    q_options = keywords.pop("q_options", None) or {}
    name, task_id = package.new_id()
    # Popped even where q_options names the task: it is never the function's.
    own_name = keywords.pop("task_name", None)
    task: TaskDict = {
        "id": task_id,
        "name": own_name or q_options.get("task_name") or name,
        "func": func,
        "args": args,
    }
    if q_options or not OPTION_SET.isdisjoint(keywords):
        for option in OPTIONS:
            if option in q_options:
                task[option] = q_options[option]
            elif option in keywords:
                task[option] = keywords.pop(option)
    if settings.cached and "cached" not in task:
        task["cached"] = settings.cached
    if settings.sync and "sync" not in task:
        task["sync"] = settings.sync
    if settings.ack_failures and "ack_failure" not in task:
        task["ack_failure"] = settings.ack_failures
    task["kwargs"] = keywords
    refuse_problems(task)
    return task


OPTION_SET = frozenset(OPTIONS)


def refuse_problems(task: TaskDict) -> None:
    """Raise TaskRefused for a task that no worker could run or record."""
    problem = package.problem(task)
    if problem is not None:
        raise TaskRefused(problem)


def finish(task: TaskDict, settings: Settings) -> str:
    """Stamp the task, tell who listens, and sign it."""
    task["started"] = timezone.now()
    signals.notify(signals.pre_enqueue, task=task)
    try:
        return package.dumps(task)
    except (DjangoQError, ImproperlyConfigured):
        raise
    except Exception as error:  # whatever the pickling of a caller's object may raise
        raise TaskRefused(_what_does_not_pack(task, settings, error)) from error


def _what_does_not_pack(task: TaskDict, settings: Settings, error: Exception) -> str:
    """Name the part that cannot be packed; asked only once packing has failed."""
    for part, value in _parts(task):
        try:
            pickle.dumps(value)
        except Exception as reason:
            return (
                f"{part} of task {task['name']!r} cannot be pickled, so no worker could be given "
                f"it: {value!r:.200} ({reason}). Give a value of a module-level class, or a key "
                "by which the task can look it up."
            )
    return (
        f"task {task['name']!r} cannot be packed with serializer {settings.serializer!r}: {error}"
    )


def _parts(task: TaskDict) -> list[tuple[str, Any]]:
    parts: list[tuple[str, Any]] = [("func", task["func"])]
    parts += [(f"argument {index}", value) for index, value in enumerate(task["args"])]
    parts += [(f"keyword argument {key!r}", value) for key, value in task["kwargs"].items()]
    parts += [
        (f"option {key!r}", value)
        for key, value in task.items()
        if key not in ("func", "args", "kwargs")
    ]
    return parts


def put(
    broker: Broker,
    signed: str,
    *,
    priority: int = 0,
    available_at: datetime | None = None,
) -> Any:
    """Give one signed task to the broker, or say at once what the broker cannot do."""
    _fits(broker, signed)
    options = _broker_options(broker, priority, available_at)
    with explain_database_errors(get_settings().orm or "default"):
        enqueue_id = broker.enqueue(signed, **options)
    logger.info("Enqueued [%s] %s", broker.list_key, enqueue_id)
    return enqueue_id


def put_many(broker: Broker, signed: Sequence[str]) -> list[Any]:
    """Give many signed tasks to the broker in one call."""
    for each in signed:
        _fits(broker, each)
    with explain_database_errors(get_settings().orm or "default"):
        enqueue_ids = broker.enqueue_many(list(signed))
    if logger.isEnabledFor(logging.INFO):
        for enqueue_id in enqueue_ids:
            logger.info("Enqueued [%s] %s", broker.list_key, enqueue_id)
    return enqueue_ids


def _fits(broker: Broker, signed: str) -> None:
    limit = broker.max_package_bytes
    if limit is not None and len(signed) > limit:
        raise TaskRefused(
            f"the signed task has {len(signed)} bytes; {broker.info()} takes at most {limit}. "
            "Pass a key to the data instead of the data, or set Q_CLUSTER['compress'] = True."
        )


def _broker_options(broker: Broker, priority: int, available_at: datetime | None) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if priority:
        if not broker.supports_priority:
            raise UnsupportedByBroker(
                f"{broker.info()} has no priorities; asked for priority={priority}."
            )
        options["priority"] = priority
    if available_at is not None:
        _refuse_delay(broker, available_at)
        options["available_at"] = available_at
    return options


def _refuse_delay(broker: Broker, available_at: datetime) -> None:
    if not broker.supports_delay:
        raise UnsupportedByBroker(
            f"{broker.info()} cannot keep a task back; asked for available_at={available_at}."
        )
    ahead = (available_at - timezone.now()).total_seconds()
    if broker.max_delay is not None and ahead > broker.max_delay:
        raise UnsupportedByBroker(
            f"{broker.info()} can keep a task back for {broker.max_delay:g} s at most; "
            f"asked for {ahead:.0f} s."
        )


def _sync(signed: str) -> str:
    """Run a signed task in this process: what `sync=True` means."""
    from django_q.tasks.sync import run_package  # imports the models: not at import time

    return run_package(signed)
