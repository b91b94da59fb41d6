"""Runs a package in the caller's process: worker and monitor in one, for `sync=True`."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from django.core.cache import caches
from django.db import IntegrityError, transaction

from django_q import package, records, signals
from django_q.conf import Settings, get_settings, logger
from django_q.readiness import explain_database_errors
from django_q.tasks import execution
from django_q.tasks.hooks import run_hook

if TYPE_CHECKING:
    from django_q.tasks.enqueue import TaskDict


def run_package(signed: str) -> str:
    """Run a signed task, and the chain behind it, and return its id.

    What a task raises is recorded, told to its hook, and then raised to the caller. The caller's
    database connections and transaction are used as they are.
    """
    settings = get_settings()
    task = package.loads(signed)
    task_id: str = task["id"]
    link = _run(task, settings)
    while link is not None:
        link = _run(package.loads(link.package), settings)
    return task_id


def _run(task: TaskDict, settings: Settings) -> records.Link | None:
    """Run one task to its end; return the next link of its chain."""
    hook = task.get("hook")
    outcome, error = execution.perform(task, settings)
    completed = _record(outcome, settings)
    _log(task)
    if hook:
        run_hook(hook, records.load_task(outcome))
    signals.notify(signals.post_execute, task=task)
    for group in completed:
        if group.signal is not None:
            signals.notify(signals.post_execute, task=pickle.loads(group.signal))
    if error is not None:
        raise error
    return outcome.link


def _record(outcome: records.Outcome, settings: Settings) -> list[records.Outcome]:
    """Put an outcome where it belongs; return the groups that it completes."""
    completed: list[records.Outcome] = []
    using = records.database()
    with explain_database_errors(using):
        if outcome.saved or outcome.item is not None:
            _write(outcome, using)
        if outcome.item is not None:
            with transaction.atomic(using=using):
                completed = records.collate({outcome.item.group: outcome.item}, using)
    for each in (outcome, *completed):
        if each.cache is not None:
            records.cache_write(each.cache, caches[settings.cache])
    return completed


def _write(outcome: records.Outcome, using: str) -> None:
    try:
        with transaction.atomic(using=using):
            records.write([outcome], using)
    except IntegrityError:  # the same package was run before
        with transaction.atomic(using=using):
            records.write(records.cautious([outcome]), using)


def _log(task: TaskDict) -> None:
    func = package.func_repr(task["func"])
    if task["success"]:
        logger.info("Processed '%s' (%s)", func, task["name"])
    else:
        logger.error("Failed '%s' (%s) - %s", func, task["name"], task["result"])
