"""What every process of a cluster has in common: its title, its signals, its link to the parent."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from django.db import connections

from django_q.brokers.base import Broker
from django_q.cluster.board import Board
from django_q.conf import Settings

logger = logging.getLogger("django-q")

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
)

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Crew:
    """What a process of the cluster is given: everything it may depend on."""

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


def join_crew(crew: Crew, name: str, title: str) -> None:
    """Become a child of the cluster: deaf to signals, gone when the parent is, and named."""
    follow_parent(crew.board.sentinel)
    for number in SIGNALS:
        # An empty handler and not SIG_IGN, which programs started by a task would inherit.
        signal.signal(number, _ignore)
    os.register_at_fork(after_in_child=hear_signals)
    set_title(name, title)


def follow_parent(parent: int) -> None:
    """Die with the sentinel. Linux does it in the kernel, elsewhere a thread watches."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        # It died before the kernel was told; whoever adopted us is not to be followed.
        os._exit(1)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        threading.Event().wait(0.5)
    os._exit(1)


def hear_signals() -> None:
    """Give what a task forks the default handlers back."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def _ignore(number: int, frame: FrameType | None) -> None:
    """The main process acts on signals and tells its children through the board."""


def set_title(name: str, what: str) -> None:
    """Show in `ps` what the process does, where setproctitle is installed."""
    if setproctitle is not None:
        setproctitle.setproctitle(f"qcluster {name} {what}")


def leave_nothing_open() -> None:
    """Close every connection before a fork, so that none is shared with a child."""
    for connection in connections.all(initialized_only=True):
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


def get_mp_context() -> Any:
    """How the cluster's processes are started: forked wherever that is possible.

    Not as the platform's default has it: with Python 3.14 that is no longer fork on Linux.
    """
    can_fork = "fork" in multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("fork" if can_fork else None)


def affinity(worker: int, workers: int, processors: Sequence[int], size: int) -> list[int]:
    """The processors of one worker: `size` of them, dealt out in turn as the manual's tables."""
    first = worker * size
    return [processors[(first + i) % len(processors)] for i in range(size)]


try:
    import setproctitle
except ImportError:
    setproctitle = None  # type: ignore[assignment]  # what optional imports are to mypy
