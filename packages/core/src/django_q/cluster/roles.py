"""What each process of the cluster runs: the functions that the sentinel's children begin with.

Everything they need is imported here, before the first fork: a worker that is forked anew every
few hundred tasks imports nothing.
"""

from __future__ import annotations

import logging
import os
import signal

from django_q.cluster import processors
from django_q.cluster.crew import Crew
from django_q.cluster.monitor import Monitor
from django_q.cluster.pusher import Pusher
from django_q.cluster.timetable import run_scheduler
from django_q.cluster.worker import Worker

logger = logging.getLogger("django-q")


def run_worker(name: str, index: int, crew: Crew, chosen: list[int]) -> None:
    """The life of a worker."""
    _forget_the_sentinel()
    if chosen:
        _pin(name, chosen)
    Worker(name, crew, crew.board.lanes[index]).run()


def run_helper(name: str, role: str, crew: Crew) -> None:
    """The life of the pusher, the monitor or the scheduler."""
    _forget_the_sentinel()
    if role == "pusher":
        Pusher(name, crew).run()
    elif role == "monitor":
        Monitor(name, crew).run()
    else:
        run_scheduler(name, crew)


def _forget_the_sentinel() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _pin(name: str, chosen: list[int]) -> None:
    try:
        processors.pin(os.getpid(), chosen)
        logger.info("%s will use cpu %s", name, chosen)
    except OSError as error:
        logger.warning("cpu_affinity has no effect on %s: %s", name, error)
