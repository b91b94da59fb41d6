"""The lifecycle signals, all sent with `sender="django_q"`; user code connects here.

A handler that raises is logged and reported with its name by `notify`; it never kills a
process and never loses a task. The plugin hook of the same name is called beside each signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.dispatch import Signal

from django_q import plugins
from django_q.conf import logger

post_spawn = Signal()
"""proc_name: a worker process has started."""

pre_enqueue = Signal()
"""task: the task dict, before it is signed and enqueued; in the producer."""

pre_execute = Signal()
"""func, task: before the function is called; in the worker."""

post_execute_in_worker = Signal()
"""func, task: after the function returned or raised; in the worker."""

post_execute = Signal()
"""task: after the result was recorded; in the monitor's hook thread."""

SENDER = "django_q"

_SIGNALS = {
    "post_spawn": post_spawn,
    "pre_enqueue": pre_enqueue,
    "pre_execute": pre_execute,
    "post_execute_in_worker": post_execute_in_worker,
    "post_execute": post_execute,
}
_NAMES = {signal: name for name, signal in _SIGNALS.items()}


def listens(signal: Signal | str) -> bool:
    """Has the signal a receiver, or its plugin hook an implementation?"""
    name, signal = _named(signal)
    return bool(signal.receivers) or plugins.listens(name)


def notify(signal: Signal | str, **arguments: Any) -> Sequence[BaseException]:
    """Send a lifecycle signal and call the plugin hook of the same name.

    Every receiver and plugin is called, whatever the others do; what one raises is logged,
    reported and returned, never raised. What is no Exception passes: a task's deadline holds
    while its handlers run.
    """
    name, signal = _named(signal)
    raised: list[BaseException] = []
    if signal.receivers:
        raised = [
            _told(receiver, name, answer, arguments.get("task"))
            for receiver, answer in signal.send_robust(sender=SENDER, **arguments)
            if isinstance(answer, Exception)
        ]
    if plugins.listens(name):
        raised += plugins.call(name, **arguments)
    return raised


def handler_name(handler: object) -> str:
    """The dotted path of a receiver or hook, for log lines."""
    name = getattr(handler, "__qualname__", None)
    return f"{getattr(handler, '__module__', '?')}.{name}" if name else repr(handler)


def _named(signal: Signal | str) -> tuple[str, Signal]:
    if isinstance(signal, str):
        return signal, _SIGNALS[signal]
    return _NAMES[signal], signal


def _told(receiver: object, name: str, error: Exception, task: dict[str, Any] | None) -> Exception:
    try:
        raise error
    except Exception:  # reporters read the exception that is being handled
        logger.exception("The receiver %s of %s raised", handler_name(receiver), name)
        plugins.report_error(task)
    return error
