"""The cluster as its main process sees it: starts the sentinel, minds it, and stops it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import time
import uuid
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from django_q.brokers import Broker, get_broker
from django_q.cluster import clock
from django_q.cluster.birth import (
    Parcel,
    begin,
    chosen_method,
    context_for_sentinel,
    require_settings_module,
    start,
)
from django_q.cluster.board import Board
from django_q.cluster.board_event import BoardEvent
from django_q.cluster.crew import Crew, leave_nothing_open, set_title
from django_q.cluster.fleet import Fleet
from django_q.cluster.patience import Patience
from django_q.cluster.sentinel import END_SECONDS, run_sentinel
from django_q.cluster.states import status_of
from django_q.cluster.vacancy import Vacancy
from django_q.conf import Conf, Settings, get_settings, in_force
from django_q.errors import BrokerUnavailable, ConfigurationError
from django_q.humanhash import humanize
from django_q.status import Stat

logger = logging.getLogger("django-q")

LATE_SECONDS = 5
"""How long after the end of `stop_timeout` a sentinel that still lives is killed."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a sentinel that died is replaced, growing with each death in a row."""

LONGEST_NAP = 1.0

TELL_SECONDS = 2.0
"""How long `start()` waits for the first status, which cannot be saved while all are away."""


class Cluster:
    """A cluster on one queue. `start()` returns when it runs, `stop()` when it has stopped.

    Unless it belongs to a fleet of several it is a fleet of one.
    """

    def __init__(
        self,
        broker: Broker | None = None,
        settings: Settings | None = None,
        fleet: Fleet | None = None,
    ) -> None:
        self.settings = settings or get_settings()
        with in_force(self.settings):
            self.broker = broker or reach_broker(self.settings)
            self.start_method = chosen_method()
        if not self.broker.serves_clusters:
            raise ConfigurationError(
                f"{self.broker.info()} lives inside one process and cannot feed a cluster: "
                "choose another broker in Q_CLUSTER, or run tasks with sync=True."
            )
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
        self.ends_when_empty = False
        self.is_over = False
        """Has it stopped, and is all that it held released?"""
        self._signals = 0
        self._told = 0
        self._pause = 0.0
        self._vacancy: Vacancy | None = None
        self._stop_by: int | None = None
        self.fleet = fleet or Fleet()
        self.fleet.clusters.append(self)
        if fleet is None:
            self.fleet.hear_signals()

    # Starting

    def start(self) -> int:
        """Start the cluster and return the pid of this process once everybody has been started.

        Raises RuntimeError when the sentinel ends before that.
        """
        self.launch()
        self.wait_for_start()
        self.wait_until_told()
        return os.getpid()

    def launch(self) -> None:
        """Start the sentinel, without waiting for it."""
        self.pid = os.getpid()
        self.tob = time.time()
        set_title(multiprocessing.current_process().name, self.fleet.title)
        logger.info("Q Cluster %s starting.", self.name)
        if len(self.fleet.clusters) > 1:
            logger.info("Q Cluster %s works on %s.", self.name, self.settings.cluster_name)
        # The probe is over: no connection may be carried into another process.
        self.broker.close()
        self.start_sentinel()

    def wait_for_start(self) -> None:
        """Return once everybody has been started."""
        self.wait_until(lambda: self.start_event.is_set() or not self._sentinel_lives(), None)
        if not self.start_event.is_set():
            self.clear_away()
            raise RuntimeError("The sentinel ended before the cluster had started; see the log.")
        logger.info("Q Cluster %s running.", self.name)

    def wait_until_told(self) -> None:
        """Let whoever has started the cluster find its status; no longer than it should take."""
        board = self.board
        if board is not None:
            self.wait_until(
                lambda: bool(board.told or board.stopping) or not self._sentinel_lives(),
                TELL_SECONDS,
            )

    def start_sentinel(self) -> None:
        """Start a sentinel with a board of its own, in the settings of this cluster's queue."""
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
        sentinel = context.Process(target=begin, name=name, args=(parcel, None))
        try:
            with in_force(self.settings):
                start(sentinel, self.start_method)
        except BaseException:
            self.board.remove()
            raise
        self.sentinel = sentinel

    # Running

    def join(self) -> int:
        """Mind the cluster until it has stopped; the exit status for the process."""
        return self.fleet.join(self)

    def run_until_empty(self) -> int:
        """Work until the queue has been found empty, then stop; the exit status."""
        self.ends_when_empty = True
        return self.join()

    def mind(self) -> bool:
        """Look after the cluster once, waiting for nothing; True when it has stopped."""
        if self.is_over or self.sentinel is None:
            self.is_over = True
            return True
        if self._signals or self.has_given_up or self._has_emptied():
            self.request_stop()
            self.end_the_stuck()
        if not self._sentinel_lives():
            if not self._stopped_orderly():
                self.fill_the_vacancy()
            if self._stopped_orderly():
                self.finish()
        return self.is_over

    def fill_the_vacancy(self) -> None:
        """Start anew after a sentinel's death, when its children have left, as they must."""
        assert self.board is not None
        if self._vacancy is None:
            logger.error("The sentinel died: %s", self.sentinel.exitcode if self.sentinel else None)
            self._vacancy = Vacancy(self.board, self._longer_pause())
        if not self._vacancy.is_cleared():
            return
        if self._is_stopping():
            # Nobody is left who could say it.
            self.board.stopped = 1
        elif self._vacancy.is_over:
            self.succeed()

    def succeed(self) -> None:
        """Start the next sentinel; where the machine has no room for it, a little later."""
        logger.info("Starting a new sentinel")
        try:
            self.start_sentinel()
        except OSError as error:
            logger.error("Cannot start a sentinel: %s", error)
            assert self.board is not None
            self._vacancy = Vacancy(self.board, self._longer_pause())
        else:
            self._vacancy = None

    def clear_away(self) -> None:
        """Wait for the children of a sentinel that died at its start to leave."""
        assert self.board is not None
        self._vacancy = Vacancy(self.board)
        while not self._vacancy.is_cleared():
            self.fleet.rest(self.nap())
        self.is_over = True

    # Stopping

    def stop(self) -> bool:
        """Stop gracefully and return True once everybody has left; False if nothing ran."""
        if not self._sentinel_lives():
            return False
        self.ask_to_stop()
        self.join()
        return True

    def ask_to_stop(self) -> None:
        """Have it stop gracefully in its next turn."""
        self._signals = max(self._signals, 1)

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

    def finish(self) -> None:
        """Release what the cluster held, when it has stopped."""
        assert self.sentinel is not None
        assert self.board is not None
        self.is_over = True
        self.sentinel.join()
        self.board.remove()
        logger.info("Q Cluster %s has stopped.", self.name)

    def sig_handler(self, signum: int, frame: FrameType | None) -> None:
        """Hear a signal for this cluster alone.

        As in Django Q2 a cluster stops though user code never calls `join()`.
        """
        self.count_signal()
        self.fleet.wake()

    def count_signal(self) -> None:
        """Count a signal and pass it on, by a store and a byte, which wait for nobody."""
        self._signals += 1
        board = self.board
        if board is not None:
            board.stop_requested = max(board.stop_requested, min(self._signals, 2))
            board.sentinel_bell.shout()

    # Waiting

    def wait_until(self, happened: Callable[[], bool], timeout: float | None) -> bool:
        """Sleep until `happened()`, at most `timeout` seconds."""
        return self.fleet.wait_until(happened, timeout)

    def nap(self) -> float:
        """Seconds after which it must be looked after, whatever happens."""
        return LONGEST_NAP if self._vacancy is None or self.is_over else self._vacancy.nap()

    def end_of_sentinel(self) -> list[int]:
        """What becomes readable when the sentinel ends, and stays so until that is dealt with."""
        if self.sentinel is None or self._vacancy is not None or self.is_over:
            return []
        return [self.sentinel.sentinel]

    def _sentinel_lives(self) -> bool:
        return self.sentinel is not None and self.sentinel.exitcode is None

    def _has_emptied(self) -> bool:
        return self.ends_when_empty and self.board is not None and bool(self.board.empty_claims)

    def _is_stopping(self) -> bool:
        return bool(self._signals) or self._stop_by is not None

    def _stopped_orderly(self) -> bool:
        return self.board is None or bool(self.board.stopped)

    def _longer_pause(self) -> float:
        """How long the next vacancy lasts: none, and then longer with each."""
        pause, self._pause = self._pause, min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
        return pause

    # What others ask

    @property
    def has_given_up(self) -> bool:
        """Was its broker never reached?"""
        return self.board is not None and bool(self.board.failed)

    @property
    def exit_status(self) -> int:
        return int(self.has_given_up)

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
