"""The cluster: processes that pull packages from the broker, run them and record the results.

cluster.py is the main process, sentinel.py guards the others; the way of a task goes through
pusher.py → lane.py → worker.py → lane.py → monitor.py, and keeper.py settles it with the broker.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_LAZY = {
    "Cluster": "django_q.cluster.cluster",
    "Sentinel": "django_q.cluster.sentinel",
    "Stat": "django_q.status",
    "Status": "django_q.status",
    "Conf": "django_q.conf",
    "humanize": "django_q.humanhash",
    "set_cpu_affinity": "django_q.cluster.processors",
    "get_mp_context": "django_q.cluster.crew",
}


def __getattr__(name: str) -> Any:
    """The names that 1.x could import from here, found when asked for."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
