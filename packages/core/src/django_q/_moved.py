"""The import names of 1.x whose modules are gone: where each name went, or what does its work.

`django_q.pusher`, `.worker`, `.monitor` and `.scheduler` were the engine. They still import; names
that live elsewhere are passed on, and the engine's own functions say, when they are called, what
to use instead. `scheduler()` alone still does what it did.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from django_q.errors import DjangoQError

_RUN_A_CLUSTER = "Start a cluster with `manage.py qcluster`, or with django_q.cluster.Cluster()."
_READ_RESULTS = "A cluster records results itself; read them with django_q.tasks.fetch()."

ENDED = {
    "django_q.pusher": {"pusher": _RUN_A_CLUSTER},
    "django_q.worker": {
        "worker": _RUN_A_CLUSTER,
        "rss_check": 'Limit the memory of workers with Q_CLUSTER["max_rss"].',
    },
    "django_q.monitor": {
        # In Django Q 1.3 the terminal monitor, in Django Q2 a process: it can only be one.
        "monitor": f"{_RUN_A_CLUSTER} Watch it with `manage.py qmonitor`.",
        "save_task": _READ_RESULTS,
        "save_cached": _READ_RESULTS,
    },
}
"""Module → function of the old engine → what to use instead."""

_PUBLIC = {
    "Broker": "django_q.brokers",
    "get_broker": "django_q.brokers",
    "Conf": "django_q.conf",
    "logger": "django_q.conf",
    "humanize": "django_q.humanhash",
    "Schedule": "django_q.models",
    "Success": "django_q.models",
    "Task": "django_q.models",
    "post_execute": "django_q.signals",
    "post_execute_in_worker": "django_q.signals",
    "post_spawn": "django_q.signals",
    "pre_execute": "django_q.signals",
    "BadSignature": "django_q.signing",
    "SignedPackage": "django_q.signing",
    "Stat": "django_q.status",
    "Status": "django_q.status",
    "async_chain": "django_q.tasks",
    "async_task": "django_q.tasks",
    "TimeoutException": "django_q.exceptions",
    "TimeoutHandler": "django_q.timeout",
    "close_old_django_connections": "django_q.utils",
    "get_func_repr": "django_q.utils",
    "get_ids": "django_q.monitor_terminal",
    "info": "django_q.monitor_terminal",
    "localtime": "django_q.utils",
}

PASSED_ON = {
    "django_q.pusher": ("Broker", "get_broker", "Conf", "logger", "BadSignature", "SignedPackage"),
    "django_q.worker": (
        *("Conf", "logger", "TimeoutException", "TimeoutHandler", "post_execute_in_worker"),
        *("post_spawn", "pre_execute", "close_old_django_connections", "get_func_repr"),
    ),
    "django_q.monitor": (
        *("Stat", "Status", "Broker", "get_broker", "Conf", "logger", "Success", "Task"),
        *("post_execute", "SignedPackage", "async_chain", "info", "get_ids"),
        *("close_old_django_connections", "get_func_repr"),
    ),
    "django_q.scheduler": (
        *("Broker", "get_broker", "Conf", "logger", "humanize", "Schedule", "async_task"),
        *("close_old_django_connections", "localtime"),
    ),
    "django_q.monitor_terminal": ("Conf",),
}
"""Module → names that could be imported from it and are passed on."""


def attribute_of(module: str, name: str) -> Any:
    """What `from module import name` gives; the modules' `__getattr__` calls this."""
    if name in ENDED.get(module, {}):
        return _ended(module, name)
    if name not in PASSED_ON.get(module, ()):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    home = _PUBLIC[name]
    warnings.warn(
        f"{module}.{name} has moved: import it from {home}.", DeprecationWarning, stacklevel=3
    )
    return getattr(import_module(home), name)


def _ended(module: str, name: str) -> Callable[..., NoReturn]:
    def ended(*args: object, **kwargs: object) -> NoReturn:
        raise DjangoQError(f"{module}.{name}() went with the old engine. {ENDED[module][name]}")

    ended.__name__ = ended.__qualname__ = name
    ended.__module__ = module
    return ended
