"""The lifecycle signals, all sent with `sender="django_q"`; user code connects here.

A handler that raises is logged and reported with its name by `notify`; it never kills a
process and never loses a task. The plugin hook of the same name is called beside each signal.
"""

from django.dispatch import Signal

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
