"""What every process of a cluster is given, and does first of all."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections

from django_q.brokers.base import Broker
from django_q.cluster.birth import hear_signals
from django_q.cluster.board import Board
from django_q.conf import Settings

logger = logging.getLogger("django-q")


@dataclass(frozen=True)
class Crew:
    """What a process of the cluster is given: everything it may depend on, by pickle unless the
    process is forked."""

    settings: Settings
    board: Board
    broker_class: type[Broker]
    list_key: str
    cluster_id: str
    main_pid: int

    def broker(self) -> Broker:
        """A broker object for the calling thread alone."""
        broker = self.broker_class(self.list_key)
        broker.join_cluster()
        return broker


def join_crew(name: str, title: str) -> None:
    """Become a named child of the cluster, whose deafness to signals its own forks do not share."""
    os.register_at_fork(after_in_child=hear_signals)
    set_title(name, title)


def set_title(name: str, what: str) -> None:
    """Show in `ps` what the process does, where setproctitle is installed."""
    if setproctitle is not None:
        setproctitle.setproctitle(f"qcluster {name} {what}")


def leave_nothing_open() -> None:
    """Close every connection before a fork, so that none is shared with a child.

    One with a transaction of the caller's stays open: `start` keeps it from the child.
    """
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            continue
        connection.close()
        close_pool = getattr(connection, "close_pool", None)
        if close_pool is not None:
            close_pool()


def freeze_memory() -> None:
    """Keep what is loaded out of garbage collection, so that forks go on sharing its pages."""
    gc.collect()
    gc.freeze()


def guarded(step: Callable[[], Any], complaint: str) -> None:
    """Run a step that must not end the process."""
    try:
        step()
    except BaseException:  # user code may raise SystemExit too, which would end a thread unheard
        logger.exception(complaint)


def affinity(worker: int, workers: int, processors: Sequence[int], size: int) -> list[int]:
    """The processors of one worker: `size` of them, dealt out in turn as the manual's tables."""
    first = worker * size
    return [processors[(first + i) % len(processors)] for i in range(size)]


try:
    import setproctitle
except ImportError:
    setproctitle = None  # type: ignore[assignment]  # what optional imports are to mypy
