"""The cluster: processes that pull packages from the broker, run them and record the results.

cluster.py is the main process, sentinel.py guards the others; the way of a task goes through
pusher.py → lane.py → worker.py → lane.py → monitor.py, and keeper.py settles it with the broker.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME_OF = {
    "Cluster": "django_q.cluster.cluster",
    "Sentinel": "django_q.cluster.sentinel",
    "set_cpu_affinity": "django_q.cluster.processors",
    "get_mp_context": "django_q.cluster.birth",
    "Broker": "django_q.brokers",
    "get_broker": "django_q.brokers",
    "Conf": "django_q.conf",
    "logger": "django_q.conf",
    "get_ppid": "django_q.conf",
    "psutil": "django_q.conf",
    "setproctitle": "django_q.conf",
    "prometheus_multiprocess": "django_q.conf",
    "humanize": "django_q.humanhash",
    "Queue": "django_q.queues",
    "Stat": "django_q.status",
    "Status": "django_q.status",
    "db": "django",
}
_MODULES = ("monitor", "pusher", "scheduler", "worker")
"""Functions in 1.x, which tests patched by these names; modules here."""


def __getattr__(name: str) -> Any:
    """The names that 1.x could import from here, found when asked for."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
