"""The board: what the whole cluster is doing, in one piece of memory that all processes share.

Main makes it before it starts the sentinel. Processes come and go; what they do stays here.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import time
from pathlib import Path
from typing import Any

from django_q.cluster.doorbell import Doorbell
from django_q.cluster.folder import PrivateFolder
from django_q.cluster.lane import LANE_BYTES, Lane
from django_q.cluster.ring import WORD

HEADER_WORDS = 64
SLEEPING_FROM = 32
"""The words from here on say which reader of a doorbell sleeps."""


class Word:
    """One word of the board; each has one writer, which the declaration names."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __get__(self, board: Board, owner: type | None = None) -> int:
        return board.words[self._index]

    def __set__(self, board: Board, value: int) -> None:
        board.words[self._index] = value


class Board:
    """The words of the cluster, its lanes and its doorbells."""

    stop_requested = Word(0)
    """main: 1 stop gracefully, 2 stop now"""
    stopping = Word(1)
    """sentinel"""
    started = Word(2)
    """sentinel: everybody has been forked"""
    stopped = Word(3)
    """sentinel: everybody has left"""
    lease_until = Word(4)
    """pusher: nothing may start after this moment (clock.now())"""
    empty_claims = Word(5)
    """pusher: claims in a row that brought nothing while the lanes were empty"""
    recorded = Word(6)
    """monitor: results recorded so far"""
    reincarnations = Word(7)
    """sentinel: processes that were started again"""
    sentinel = Word(8)
    """sentinel: pid; so are the following"""
    pusher = Word(9)
    monitor = Word(10)
    scheduler = Word(11)
    connected = Word(12)
    """pusher: the broker has answered once"""
    failed = Word(13)
    """pusher: the broker never answered; the cluster gives up"""

    decisions = Word(14)
    """monitor: how often it has decided on actions"""

    def __init__(self, workers: int) -> None:
        self.born = time.time()
        self._home = PrivateFolder()
        self.folder = self._home.path
        # A dead worker's lane stays in use until its last package is settled, so there are more
        # lanes than workers.
        count = 2 * workers + 2
        size = HEADER_WORDS + count
        header = (size * WORD + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE
        memory = memoryview(mmap.mmap(-1, header + count * LANE_BYTES))
        self.words = memory[: size * WORD].cast("q")
        self.lanes = [
            Lane(i, memory[header + i * LANE_BYTES : header + (i + 1) * LANE_BYTES], self.folder)
            for i in range(count)
        ]
        self.sentinel_bell = self._bell(0)
        self.pusher_bell = self._bell(1)
        self.keeper_bell = self._bell(2)
        self.monitor_bell = self._bell(3)
        self.scheduler_bell = self._bell(4)
        self.main_bell = self._bell(5)
        self.lane_bells = [self._bell(HEADER_WORDS - SLEEPING_FROM + i) for i in range(count)]

    def _bell(self, index: int) -> Doorbell:
        word = SLEEPING_FROM + index
        return Doorbell(self.words[word : word + 1])

    def ring_everybody(self) -> None:
        """Wake every process, whatever it waits for."""
        for bell in (
            self.pusher_bell,
            self.keeper_bell,
            self.monitor_bell,
            self.scheduler_bell,
            *self.lane_bells,
        ):
            bell.shout()

    @property
    def live_lanes(self) -> list[Lane]:
        return [lane for lane in self.lanes if lane.is_alive]

    @property
    def all_committed(self) -> bool:
        """Has every worker ended, and is all that they did in the database?"""
        return all(lane.is_finished for lane in self.lanes)

    @property
    def all_settled(self) -> bool:
        """Has every worker ended, and does the broker know of everything?"""
        return all(lane.is_free for lane in self.lanes)

    @property
    def held(self) -> int:
        """Packages claimed and not started."""
        return sum(max(0, lane.written - max(lane.started, lane.settled)) for lane in self.lanes)

    @property
    def uncommitted(self) -> int:
        """Results not yet in the database."""
        return sum(max(0, lane.done - lane.committed) for lane in self.lanes)

    @property
    def is_empty(self) -> bool:
        """Is nothing claimed, running or unsettled?"""
        return all(lane.written == lane.settled for lane in self.lanes)

    def pids(self) -> list[int]:
        """Every process that the sentinel started and that may still live."""
        helpers = [self.pusher, self.monitor, self.scheduler]
        return [pid for pid in (*helpers, *(lane.pid for lane in self.live_lanes)) if pid]

    def snapshot(self) -> dict[str, Any]:
        """What `Stat` shows of the cluster, but for its identity and status."""
        lanes = self.live_lanes
        return {
            "host": socket.gethostname(),
            "sentinel": self.sentinel,
            "pusher": self.pusher,
            "monitor": self.monitor,
            "scheduler": self.scheduler,
            "workers": [lane.pid for lane in lanes],
            "running": [
                {"pid": lane.pid, "number": lane.started, "since": lane.started_at}
                for lane in lanes
                if lane.started > lane.done
            ],
            "reincarnations": self.reincarnations,
            "task_q_size": self.held,
            "done_q_size": self.uncommitted,
            "recorded": self.recorded,
            "tob": self.born,
        }

    def remove(self) -> None:
        """Delete the folder of large bodies; by main, when everybody has left."""
        self._home.remove()


def is_running(pid: int) -> bool:
    """Does a process of this id exist (and is it ours to ask)?

    One that fell to us and is dead already is laid to rest: a main process that is the init of
    its container inherits the children of a sentinel that died.
    """
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Is it dead, and its parent slow to notice? In many a container the init never does."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    # "pid (name) state …", and the name may hold anything.
    return stat.rpartition(b")")[2].split()[:1] == [b"Z"]
