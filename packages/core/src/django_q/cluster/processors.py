"""Which processors a process may use, and how it is told, where the platform can do that."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from django_q.cluster.crew import affinity
from django_q.conf import Conf

logger = logging.getLogger("django-q")


def available() -> list[int]:
    """The processors that this process may use; none where the platform does not say."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    process = _psutil_process(os.getpid())
    return sorted(process.cpu_affinity()) if process is not None else []


def can_pin() -> bool:
    """Can processes be pinned here? (Not on macOS; on Windows psutil does it.)"""
    return hasattr(os, "sched_setaffinity") or _psutil_process(os.getpid()) is not None


def pin(pid: int, processors: Sequence[int]) -> None:
    """Let a process use these processors alone. Raises OSError where that is refused."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, processors)
    else:
        _psutil_process(pid).cpu_affinity(list(processors))


def warn_unless_possible() -> bool:
    """Can processes be pinned here? A warning in the log says so where they cannot."""
    possible = can_pin()
    if not possible:
        logger.warning(
            "cpu_affinity has no effect on %s%s",
            sys.platform,
            " without psutil" if sys.platform == "win32" else "",
        )
    return possible


def set_cpu_affinity(n: int, process_ids: list[int], actual: bool | None = None) -> None:
    """Deal `n` processors out to each process, in turn; `actual=False` only logs it.

    An `n` of 0, or of as many as there are, leaves them all to everybody.
    """
    if actual is None:
        actual = not Conf.TESTING
    processors = available()
    if actual and n and not warn_unless_possible():
        actual = False
    if not 0 < n < len(processors):
        return
    for position, pid in enumerate(process_ids):
        chosen = affinity(position, len(process_ids), processors, n)
        if actual:
            pin(pid, chosen)
        logger.info("%s will use cpu %s", pid, chosen)


def _psutil_process(pid: int) -> Any:
    """psutil's view of a process, if it is installed and can pin here."""
    try:
        import psutil
    except ImportError:
        return None
    return psutil.Process(pid) if hasattr(psutil.Process, "cpu_affinity") else None
