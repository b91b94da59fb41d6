"""Tells prometheus_client, where it counts over several processes, which of them have ended."""

from __future__ import annotations

import logging
import os

from django_q import conf

logger = logging.getLogger("django-q")

VARIABLES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")


def forget_process(pid: int | None) -> None:
    """Remove the gauges of a process that has ended; nothing where nobody counts."""
    if pid is None or not any(os.environ.get(variable) for variable in VARIABLES):
        return
    multiprocess = conf.prometheus_multiprocess
    if multiprocess is None:
        return
    try:
        multiprocess.mark_process_dead(pid)
    except Exception:  # a full disk must not keep the sentinel from its work
        logger.exception("prometheus_client could not be told that %s has ended", pid)
