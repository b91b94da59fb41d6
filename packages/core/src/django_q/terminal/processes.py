"""How much memory the processes of clusters on this host use, and what the host has left."""

from __future__ import annotations

import socket
from typing import Any

from django_q.errors import ConfigurationError
from django_q.status import Stat

INSTALL_PSUTIL = (
    'Memory is measured with psutil, which is not installed: pip install "django-q-core[psutil]".'
)

MB = 1024**2


def require_psutil() -> Any:
    """The module; raises ConfigurationError, which says what to install, where there is none."""
    try:
        import psutil  # optional
    except ImportError:
        raise ConfigurationError(INSTALL_PSUTIL) from None
    return psutil


def megabytes_of(pid: int | None) -> float | None:
    """What a process of this host has in memory; None where it is gone, or not ours to see."""
    psutil = require_psutil()
    if not pid:
        return None
    try:
        return round(float(psutil.Process(pid).memory_info().rss) / MB, 2)
    except psutil.Error:
        return None


def host_memory() -> dict[str, float]:
    """What this host has, and has left."""
    memory = require_psutil().virtual_memory()
    return {
        "available_percent": round(memory.available * 100 / memory.total, 2),
        "available_mb": round(memory.available / MB, 2),
        "total_mb": round(memory.total / MB, 2),
    }


def memory_of(stat: Stat) -> dict[str, Any]:
    """What one cluster uses; every figure is None where it runs on another host."""
    is_here = stat.host == socket.gethostname()
    facts: dict[str, Any] = {
        "host": stat.host,
        "is_this_host": is_here,
        "pid": stat.pid,
        "cluster_id": str(stat.cluster_id),
        "queue": stat.name,
        **dict.fromkeys(("available_percent", "available_mb", "total_mb")),
        **(host_memory() if is_here else {}),
        "sentinel_mb": megabytes_of(stat.sentinel) if is_here else None,
        "monitor_mb": megabytes_of(stat.monitor) if is_here else None,
    }
    workers = [{"pid": pid, "mb": megabytes_of(pid) if is_here else None} for pid in stat.workers]
    total = round(sum(each["mb"] or 0.0 for each in workers), 2)
    return {**facts, "workers_mb": total if is_here else None, "workers": workers}
