"""The cluster as its main process sees it: starts the sentinel, minds it, and stops it."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
import uuid
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from django_q.brokers import Broker, get_broker
from django_q.cluster import clock
from django_q.cluster.birth import (
    SIGNALS,
    Parcel,
    begin,
    chosen_method,
    context_for_sentinel,
    require_settings_module,
    start,
)
from django_q.cluster.board import Board, is_running
from django_q.cluster.crew import Crew, leave_nothing_open, set_title
from django_q.cluster.patience import Patience
from django_q.cluster.sentinel import END_SECONDS, run_sentinel
from django_q.cluster.states import status_of
from django_q.conf import Conf, Settings, get_settings
from django_q.errors import BrokerUnavailable, ConfigurationError
from django_q.humanhash import humanize
from django_q.status import Stat

logger = logging.getLogger("django-q")

LATE_SECONDS = 5
"""How long after the end of `stop_timeout` a sentinel that still lives is killed."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a sentinel that died is replaced, growing with each death in a row."""


class BoardEvent:
    """A word of the board in the shape of a multiprocessing.Event, but one that cannot deadlock:
    setting it waits for nobody."""

    def __init__(self, cluster: Cluster, word: str) -> None:
        self._cluster = cluster
        self._word = word

    def is_set(self) -> bool:
        """Has it happened?"""
        board = self._cluster.board
        return board is not None and bool(getattr(board, self._word))

    def set(self) -> None:
        """Make it happen."""
        board = self._cluster.board
        if board is not None:
            setattr(board, self._word, max(1, getattr(board, self._word)))
            board.sentinel_bell.shout()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it happens, at most `timeout` seconds."""
        return self._cluster.wait_until(self.is_set, timeout)


class Cluster:
    """A cluster on one queue. `start()` returns when it runs, `stop()` when it has stopped."""

    def __init__(self, broker: Broker | None = None) -> None:
        self.settings = get_settings()
        self.broker = broker or reach_broker(self.settings)
        if not self.broker.serves_clusters:
            raise ConfigurationError(
                f"{self.broker.info()} lives inside one process and cannot feed a cluster: "
                "choose another broker in Q_CLUSTER, or run tasks with sync=True."
            )
        self.start_method = chosen_method()
        require_settings_module(self.start_method)
        self.sentinel: BaseProcess | None = None
        self.board: Board | None = None
        self.cluster_id = uuid.uuid4()
        self.host = socket.gethostname()
        self.timeout = self.settings.timeout
        self.pid: int | None = None
        self.start_event = BoardEvent(self, "started")
        self.stop_event = BoardEvent(self, "stop_requested")
        self.tob: float | None = None
        self._signals = 0
        self._told = 0
        self._pause = 0.0
        self._until_empty = False
        self._stop_by: int | None = None
        self._heard, self._tell = os.pipe()
        os.set_blocking(self._tell, False)
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self.sig_handler)

    # Starting

    def start(self) -> int:
        """Start the cluster and return the pid of this process once everybody has been started.

        Raises RuntimeError when the sentinel ends before that.
        """
        self.pid = os.getpid()
        self.tob = time.time()
        set_title(multiprocessing.current_process().name, self.name)
        logger.info("Q Cluster %s starting.", self.name)
        # The probe is over: no connection may be carried into another process.
        self.broker.close()
        self.start_sentinel()
        self.wait_until(lambda: self.start_event.is_set() or not self._sentinel_lives(), None)
        if not self.start_event.is_set():
            self.clear_away()
            raise RuntimeError("The sentinel ended before the cluster had started; see the log.")
        logger.info("Q Cluster %s running.", self.name)
        return self.pid

    def start_sentinel(self) -> None:
        """Start a sentinel with a board of its own."""
        leave_nothing_open()
        self.board = Board(self.settings.workers, self.start_method)
        crew = Crew(
            settings=self.settings,
            board=self.board,
            broker_class=type(self.broker),
            list_key=self.broker.list_key,
            cluster_id=str(self.cluster_id),
            main_pid=os.getpid(),
        )
        parcel = Parcel(run_sentinel, f"Process-{uuid.uuid4().hex}", crew)
        context = context_for_sentinel(self.start_method)
        name = f"Process-{uuid.uuid4().hex}"
        self.sentinel = context.Process(target=begin, name=name, args=(parcel, None))
        start(self.sentinel, self.start_method)

    # Running

    def join(self) -> int:
        """Mind the cluster until it has stopped; the exit status for the process."""
        while True:
            if self._signals or self._has_given_up() or self._has_emptied():
                self.request_stop()
                self.end_the_stuck()
            if not self._sentinel_lives():
                if self._stopped_orderly():
                    break
                self.replace_sentinel()
            # Named here, alive or not: it may have ended since it was asked above.
            self.rest(1.0, *self._end_of_sentinel())
        return self.finish()

    def run_until_empty(self) -> int:
        """Work until the queue has been found empty, then stop; the exit status."""
        self._until_empty = True
        return self.join()

    def replace_sentinel(self) -> None:
        """Start anew after a sentinel's death, when its children have left, as they must."""
        exitcode = self.sentinel.exitcode if self.sentinel else None
        logger.error("The sentinel died: %s", exitcode)
        self.clear_away()
        if not self._is_stopping():
            self.rest(self._pause)
            self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
        if self._is_stopping():
            # Nobody is left who could say it.
            assert self.board is not None
            self.board.stopped = 1
        else:
            logger.info("Starting a new sentinel")
            self.start_sentinel()

    def clear_away(self) -> None:
        """Wait for the children of a dead sentinel to leave, and end those that do not."""
        if self.board is None:
            return
        deadline = clock.after(2)
        while left := [pid for pid in self.board.pids() if is_running(pid)]:
            if clock.now() > deadline:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            self.rest(0.01)
        self.board.remove()

    # Stopping

    def stop(self) -> bool:
        """Stop gracefully and return True once everybody has left; False if nothing ran."""
        if not self._sentinel_lives():
            return False
        self._signals = max(self._signals, 1)
        self.join()
        return True

    def request_stop(self) -> None:
        """Tell the sentinel to stop; for the second time: now."""
        board = self.board
        wanted = max(1, min(self._signals, 2))
        if board is None or self._told >= wanted:
            return
        if not self._told:
            logger.info("Q Cluster %s stopping.", self.name)
        self._told = wanted
        board.stop_requested = max(board.stop_requested, wanted)
        left = END_SECONDS if self._signals > 1 else self.settings.stop_timeout
        self._stop_by = clock.after(left + LATE_SECONDS)
        board.sentinel_bell.shout()

    def end_the_stuck(self) -> None:
        """End a sentinel that does not stop in time: it was halted, or has lost its senses."""
        if self._stop_by is not None and clock.now() > self._stop_by and self._sentinel_lives():
            logger.error("The sentinel did not stop in time and is killed")
            assert self.sentinel is not None
            self.sentinel.kill()

    def finish(self) -> int:
        """Release what the cluster held, when it has stopped."""
        failed = bool(self.board and self.board.failed)
        if self.sentinel is not None:
            self.sentinel.join()
        if self.board is not None:
            self.board.remove()
        logger.info("Q Cluster %s has stopped.", self.name)
        return int(failed)

    def sig_handler(self, signum: int, frame: FrameType | None) -> None:
        """Count a signal and pass it on, by a store and a byte, which wait for nobody.

        As in Django Q2 a cluster stops though user code never calls `join()`.
        """
        self._signals += 1
        board = self.board
        if board is not None:
            board.stop_requested = max(board.stop_requested, min(self._signals, 2))
            board.sentinel_bell.shout()
        try:
            os.write(self._tell, b"\0")
        except BlockingIOError:
            return

    # Waiting

    def rest(self, seconds: float, *others: int) -> None:
        """Sleep until a signal, a ring of the board, or until one of the others is readable."""
        waited_for: list[Any] = [self._heard, *others]
        if self.board is not None:
            waited_for.append(self.board.main_bell)
        ready = wait(waited_for, seconds)
        if self._heard in ready:
            os.read(self._heard, 4096)
        if self.board is not None:
            self.board.main_bell.silence()

    def wait_until(self, happened: Any, timeout: float | None) -> bool:
        """Sleep until `happened()`, at most `timeout` seconds."""
        deadline = None if timeout is None else clock.after(timeout)
        while not happened():
            left = 0.1 if deadline is None else min(0.1, clock.seconds_until(deadline))
            if left <= 0:
                return bool(happened())
            self.rest(left)
        return True

    def _sentinel_lives(self) -> bool:
        return self.sentinel is not None and self.sentinel.exitcode is None

    def _end_of_sentinel(self) -> list[int]:
        """What becomes readable when the sentinel ends, and stays so."""
        return [] if self.sentinel is None else [self.sentinel.sentinel]

    def _has_given_up(self) -> bool:
        return self.board is not None and bool(self.board.failed)

    def _has_emptied(self) -> bool:
        return self._until_empty and self.board is not None and bool(self.board.empty_claims)

    def _is_stopping(self) -> bool:
        return bool(self._signals) or self._stop_by is not None

    def _stopped_orderly(self) -> bool:
        return self.board is None or bool(self.board.stopped)

    # What others ask

    @property
    def name(self) -> str:
        """Four words for the cluster's id."""
        return humanize(self.cluster_id.hex)

    @property
    def stat(self) -> Stat:
        """The cluster's status, as it is now."""
        facts: dict[str, Any] = self.board.snapshot() if self.board is not None else {}
        status = status_of(self.board) if self.board is not None else Conf.STOPPED
        return Stat.from_snapshot(
            {
                **facts,
                "cluster_id": str(self.cluster_id),
                "pid": self.pid,
                "name": self.broker.list_key,
                "status": status,
            }
        )

    @property
    def is_starting(self) -> bool:
        return self._sentinel_lives() and not self.start_event.is_set()

    @property
    def is_running(self) -> bool:
        return self._sentinel_lives() and self.start_event.is_set() and not self.is_stopping

    @property
    def is_stopping(self) -> bool:
        return self._sentinel_lives() and self.stop_event.is_set()

    @property
    def has_stopped(self) -> bool:
        return self.start_event.is_set() and not self._sentinel_lives()


def reach_broker(settings: Settings) -> Broker:
    """The configured broker, waited for as long as `connect_timeout` says: some clients have to
    reach their server to be made."""
    deadline = clock.after(settings.connect_timeout)
    patience = Patience(
        f"the broker of {settings.cluster_name}", wait=time.sleep, give_up=lambda: False
    )
    while True:
        try:
            broker = get_broker()
        except BrokerUnavailable as error:
            if clock.now() >= deadline:
                raise BrokerUnavailable(
                    f"The broker of {settings.cluster_name} was not reached within "
                    f"{settings.connect_timeout:g} seconds (connect_timeout): {error}"
                ) from error
            patience.lost(error)
            patience.rest()
        else:
            patience.found()
            return broker
