"""Runs one task: locates its function, calls it under its deadline, and encodes what came of it.

The same code serves a worker of the cluster and `sync=True` in the caller's own process.
"""

from __future__ import annotations

import logging
import pickle
import pydoc
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from django.utils import timezone

from django_q import package, records
from django_q.conf import Settings
from django_q.errors import TimeoutException
from django_q.reporters import report
from django_q.signals import listens, notify
from django_q.signing import SignedPackage
from django_q.tasks.chains import next_link
from django_q.tasks.iterables import final_template
from django_q.timeout import TimeoutHandler

logger = logging.getLogger("django-q")

TaskDict = dict[str, Any]


class Performance(NamedTuple):
    """One attempt at a task."""

    outcome: records.Outcome
    error: BaseException | None
    """What the task raised, or why it was not run; None on success."""

    @property
    def timed_out(self) -> bool:
        return isinstance(self.error, TimeoutException)


def perform(
    task: TaskDict,
    settings: Settings,
    *,
    attempt: int = 1,
    first: bool = True,
    begin: Callable[[float | None], None] = lambda timeout: None,
    check_links: bool = False,
) -> Performance:
    """Run a task and encode its outcome; whatever it raises becomes the outcome's reason.

    `begin` is told the timeout in seconds just before the function starts. `first` says that no
    earlier attempt can have been recorded. `check_links` marks the next link of a chain as one
    that may be enqueued twice.
    """
    error = _call(task, settings, begin)
    return _encode(task, settings, attempt, first, error, check_links)


def refuse(
    task: TaskDict,
    settings: Settings,
    error: BaseException,
    *,
    attempt: int = 1,
    first: bool = True,
) -> Performance:
    """Record a task as failed without running it."""
    task["result"], task["success"] = str(error), False
    try:
        # Raised again so that reporters find a live exception beside the local named `task`.
        raise error
    except type(error):
        report(task)
    return _encode(task, settings, attempt, first, error)


def known(task: TaskDict, settings: Settings) -> records.Outcome:
    """What may still be due of a task whose success is recorded: its hook and its chain's link."""
    task.update(result=None, success=True, stopped=timezone.now())
    return _outcome(task, settings, 0, False, True)._replace(saved=False, signal=None)


def locate(func: Any) -> Callable[..., Any]:
    """The function that a task names. Raises ValueError where there is none."""
    found: object = func
    if not callable(found):
        # A function of an imported module, which almost all are, costs a look into two dicts:
        # pydoc asks the import system anew each time, 30 µs. Nothing is kept, so patches count.
        module, _, name = func.rpartition(".")
        found = getattr(sys.modules.get(module), name, None) or pydoc.locate(func)
    if not callable(found):
        raise ValueError(f"Function {func} is not defined")
    return found


def _call(
    task: TaskDict, settings: Settings, begin: Callable[[float | None], None]
) -> BaseException | None:
    """Call the task's function and put result and success into the dict."""
    timeout = task.get("timeout") or settings.timeout
    func = None
    error: BaseException | None = None
    begin(timeout)
    try:
        with TimeoutHandler(timeout):
            func = locate(task["func"])
            for refusal in notify("pre_execute", func=func, task=task):
                # A handler prepares what the task stands on (a tenant, a transaction):
                # to run without it may do harm, to fail does none.
                raise refusal
            task["result"] = func(*task["args"], **task["kwargs"])
        task["success"] = True
    except BaseException as raised:  # even SystemExit ends a task, not its worker
        error = raised
        task["result"], task["success"] = _reason(raised), False
        report(task)
    task["stopped"] = timezone.now()
    notify("post_execute_in_worker", func=func, task=task)
    return error


def _reason(error: BaseException) -> str:
    """The result of a failed task, in the words of Django Q: the message, then the traceback."""
    return f"{error} : {''.join(traceback.format_exception(error))}"


def _encode(
    task: TaskDict,
    settings: Settings,
    attempt: int,
    first: bool,
    error: BaseException | None,
    check_links: bool = False,
) -> Performance:
    task.setdefault("stopped", timezone.now())
    try:
        return Performance(_outcome(task, settings, attempt, first, check_links), error)
    except Exception as unfit:  # a result is user code: its pickling may do anything
        failure = unfit
        kind = type(task.get("result")).__name__
        task["result"] = f"The result of type {kind} cannot be stored: {_reason(unfit)}"
        task["success"] = False
    return Performance(_outcome(task, settings, attempt, first), failure)


def _outcome(
    task: TaskDict, settings: Settings, attempt: int, first: bool, check_links: bool = False
) -> records.Outcome:
    cached = task.get("cached") and not task.get("iter_count")
    return records.Outcome(
        row=records.row_of(task, attempt_count=attempt),
        saved=not cached and not task.get("iter_count") and _is_saved(task, settings),
        first=first,
        cache=_cache_entry(task, settings) if cached else None,
        item=_item(task) if task.get("iter_count") else None,
        hook=pickle.dumps(task["hook"]) if task.get("hook") else None,
        link=next_link(task, settings, check_links) if task["success"] else None,
        signal=pickle.dumps(task) if listens("post_execute") else None,
    )


def _is_saved(task: TaskDict, settings: Settings) -> bool:
    """Failures always are; successes as the task says, or else the site."""
    save = task.get("save")
    return not task["success"] or bool(settings.save_limit >= 0 if save is None else save)


def _cache_entry(task: TaskDict, settings: Settings) -> records.CacheEntry:
    queue = task.get("cluster") or settings.cluster_name
    group = task.get("group")
    return records.CacheEntry(
        key=f"{queue}:{task['id']}",
        text=SignedPackage.dumps(task),
        timeout=None if task["cached"] is True else task["cached"],
        group_key=f"{queue}:{group}:keys" if group else None,
    )


def _item(task: TaskDict) -> records.Item:
    return records.Item(
        group=task["group"],
        index=task.get("iter_index", 0),
        count=task["iter_count"],
        final=final_template(task),
    )


def description(task: TaskDict) -> str:
    """How log lines and process titles name a task: name, function and group."""
    text = f"{task['name']} '{package.func_repr(task['func'])}'"
    return f"{text} [{task['group']}]" if task.get("group") else text
