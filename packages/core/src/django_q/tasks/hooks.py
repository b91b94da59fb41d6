"""Runs the function that a task names as its hook, once its result is recorded."""

from __future__ import annotations

import pydoc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django_q import reporters, signals
from django_q.conf import logger

if TYPE_CHECKING:
    from django_q.models import Task

Hook = str | Callable[["Task"], Any]


def run_hook(hook: Hook, task: Task) -> None:
    """Call the hook with the finished task; a failure is logged and reported, never raised."""
    try:
        resolve(hook)(task)
    except (Exception, SystemExit) as error:
        logger.exception(
            "return hook %s failed on [%s] because %s", _hook_name(hook), task.name, error
        )
        reporters.report(_as_dict(task))


def resolve(hook: Hook) -> Callable[[Task], Any]:
    """The callable that a hook's dotted path names."""
    found = pydoc.locate(hook) if isinstance(hook, str) else hook
    if not callable(found):
        raise ValueError(
            f"hook {hook!r} is not defined: expected a callable or the dotted path of one"
        )
    return found


def _hook_name(hook: Hook) -> str:
    return hook if isinstance(hook, str) else signals.handler_name(hook)


def _as_dict(task: Task) -> dict[str, Any]:
    return {"id": task.id, "name": task.name, "func": task.func, "group": task.group}
