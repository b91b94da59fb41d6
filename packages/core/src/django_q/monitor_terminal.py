"""The terminal monitors by the names that they had in 1.x; the commands draw the same."""

from __future__ import annotations

import sys
from typing import Any

from django_q._moved import attribute_of
from django_q.brokers import Broker, get_broker
from django_q.errors import ConfigurationError
from django_q.overview import gather
from django_q.status import Stat
from django_q.terminal import INSTALL_RICH, require_rich
from django_q.terminal.processes import megabytes_of

BLESSED_INSTALL_MESSAGE = INSTALL_RICH
"""What is printed where nothing can be drawn; the tables no longer need blessed."""

NO_PROCESS_FOUND = "NO_PROCESS_FOUND"


def monitor(run_once: bool = False, broker: Broker | None = None) -> list[Stat] | None:
    """Show the clusters until `q` is pressed; or once, and return their statuses."""
    if not _can_draw():
        return None
    # Late, here and below: they import rich, which is optional.
    from django_q.terminal.clusters import show_clusters
    from django_q.terminal.console import console_on

    return show_clusters(console_on(sys.stdout), broker or get_broker(), run_once)


def info(broker: Broker | None = None) -> bool | None:
    """Print the figures of `qinfo`; True when that is done."""
    if not _can_draw():
        return None
    from django_q.terminal.console import console_on
    from django_q.terminal.info import info_table

    console_on(sys.stdout).print(info_table(gather(broker=broker)))
    return True


def memory(
    run_once: bool = False, workers: bool = False, broker: Broker | None = None
) -> list[Stat] | None:
    """Show the memory of clusters until `q` is pressed; or once, and return their statuses."""
    if not _can_draw():
        return None
    from django_q.terminal.console import console_on
    from django_q.terminal.memory import show_memory

    try:
        return show_memory(console_on(sys.stdout), broker or get_broker(), run_once, workers)
    except ConfigurationError as error:  # for lack of psutil
        print(error)
        return None


def get_ids() -> bool:
    """Print the id of every cluster."""
    ids = [str(stat.cluster_id) for stat in Stat.get_all()]
    print("\n".join(ids) or "No clusters appear to be running.")
    return True


def get_process_mb(pid: int) -> float | str:
    """What a process has in memory."""
    found = megabytes_of(pid)
    return NO_PROCESS_FOUND if found is None else found


def _can_draw() -> bool:
    try:
        require_rich()
    except ConfigurationError as error:
        print(error)
        return False
    return True


def __getattr__(name: str) -> Any:
    return attribute_of(__name__, name)
