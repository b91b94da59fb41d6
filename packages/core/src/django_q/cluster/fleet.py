"""The clusters under one main process: starts them, hears the signals for them, minds them all."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from types import FrameType
from typing import TYPE_CHECKING, Any

from django_q.cluster import clock
from django_q.cluster.birth import SIGNALS

if TYPE_CHECKING:
    from django_q.cluster.cluster import Cluster


class Fleet:
    """Clusters on different queues, each with a sentinel of its own; one loop for them all.

    A cluster that gives up takes the others with it: whoever started the process learns by its
    end that a queue is not worked on, and starts it anew.
    """

    def __init__(self) -> None:
        self.clusters: list[Cluster] = []
        self._heard, self._tell = os.pipe()
        os.set_blocking(self._tell, False)

    @property
    def title(self) -> str:
        """The names of the clusters, as `ps` shows them."""
        return " ".join(cluster.name for cluster in self.clusters)

    # Starting

    def start(self) -> None:
        """Start all clusters at once and return when they run; all or none."""
        self.hear_signals()
        try:
            for cluster in self.clusters:
                cluster.launch()
            for cluster in self.clusters:
                cluster.wait_for_start()
        except BaseException:
            self.stop()
            raise

    # Running

    def join(self, *clusters: Cluster) -> int:
        """Mind all clusters until these, by default all, have stopped; the worst exit status."""
        awaited = clusters or self.clusters
        while not self.mind() and not all(cluster.is_over for cluster in awaited):
            # Named here, alive or not: one may have ended since it had its turn.
            ends = [end for cluster in self.clusters for end in cluster.end_of_sentinel()]
            self.rest(min(cluster.nap() for cluster in self.clusters), *ends)
        return max((cluster.exit_status for cluster in awaited), default=0)

    def run_until_empty(self) -> int:
        """Let each cluster work until its queue has been found empty; the worst exit status."""
        for cluster in self.clusters:
            cluster.ends_when_empty = True
        return self.join()

    def mind(self) -> bool:
        """Give each cluster its turn; True when all have stopped."""
        if any(cluster.has_given_up for cluster in self.clusters):
            self.ask_to_stop()
        for cluster in self.clusters:
            cluster.mind()
        return all(cluster.is_over for cluster in self.clusters)

    # Stopping

    def stop(self) -> None:
        """Stop all gracefully, and return when everybody has left."""
        self.ask_to_stop()
        self.join()

    def ask_to_stop(self) -> None:
        for cluster in self.clusters:
            cluster.ask_to_stop()

    def hear_signals(self) -> None:
        """Have the signals of a stop told to the clusters; another thread than main cannot."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self.sig_handler)

    def sig_handler(self, signum: int, frame: FrameType | None) -> None:
        """Pass a signal on, by stores and bytes, which wait for nobody."""
        for cluster in self.clusters:
            cluster.count_signal()
        self.wake()

    def wake(self) -> None:
        """End the rest of this process; safe in a signal handler."""
        try:
            os.write(self._tell, b"\0")
        except BlockingIOError:
            return

    # Waiting

    def rest(self, seconds: float, *others: int) -> None:
        """Sleep until a signal, a ring for main, or until one of the others is readable."""
        bells = [each.board.main_bell for each in self.clusters if each.board is not None]
        waited_for: list[Any] = [self._heard, *bells, *others]
        if self._heard in wait(waited_for, seconds):
            os.read(self._heard, 4096)
        for bell in bells:
            bell.silence()

    def wait_until(self, happened: Callable[[], bool], timeout: float | None) -> bool:
        """Sleep until `happened()`, at most `timeout` seconds."""
        deadline = None if timeout is None else clock.after(timeout)
        while not happened():
            left = 0.1 if deadline is None else min(0.1, clock.seconds_until(deadline))
            if left <= 0:
                return happened()
            self.rest(left)
        return True
