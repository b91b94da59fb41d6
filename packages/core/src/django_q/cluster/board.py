"""The board: what the whole cluster is doing, in one piece of memory that all processes share.

Main makes it before it starts the sentinel. Processes come and go; what they do stays here.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django_q.cluster.birth import FORK
from django_q.cluster.doorbell import Doorbell
from django_q.cluster.folder import PrivateFolder
from django_q.cluster.lane import LANE_BYTES, Lane
from django_q.cluster.memory import AnonymousMemory, FileMemory
from django_q.cluster.onlooker import Onlooker
from django_q.cluster.ring import WORD
from django_q.errors import DjangoQError

HEADER_WORDS = 64
SLEEPING_FROM = 32
"""The words from here on say which reader of a doorbell sleeps."""
BELLS = 6
"""Doorbells besides those of the lanes."""


class Word:
    """One word of the board; each has one writer, which the declaration names."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __get__(self, board: Board, owner: type | None = None) -> int:
        return board.words[self._index]

    def __set__(self, board: Board, value: int) -> None:
        board.words[self._index] = value


class FolderVanished(DjangoQError):
    """Somebody has cleared the folder of a running cluster away."""


class Board:
    """The words of the cluster, its lanes and its doorbells.

    Forked processes inherit it. For others it can be pickled, as often as need be: its memory
    travels as a descriptor, and its doorbells are named pipes in the private folder, which are
    opened again there. Those are too many to be handed over: a fork server takes 256 descriptors
    at most, and a cluster of 64 workers has 136 doorbells.
    """

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
    told = Word(15)
    """scheduler: it has had its first turn, and published the status if it could"""

    def __init__(self, workers: int, start_method: str = FORK) -> None:
        self.start_method = start_method
        # A dead worker's lane stays in use until its last package is settled, so there are more
        # lanes than workers.
        count = 2 * workers + 2
        size = _header(count) + count * LANE_BYTES
        is_inherited = start_method == FORK
        memory = AnonymousMemory(size) if is_inherited else FileMemory(size)
        home = PrivateFolder()
        if not is_inherited:
            for path in _bell_paths(home.path, count):
                os.mkfifo(path, 0o600)
        self._lay_out(count, memory, home, time.time())

    def _lay_out(
        self, count: int, memory: AnonymousMemory | FileMemory, home: PrivateFolder, born: float
    ) -> None:
        self.born = born
        self._count = count
        self._memory = memory
        self._home = home
        self.folder = home.path
        header, view = _header(count), memory.view
        self.words = view[: (HEADER_WORDS + count) * WORD].cast("q")
        self.lanes = [
            Lane(i, view[header + i * LANE_BYTES : header + (i + 1) * LANE_BYTES], self.folder)
            for i in range(count)
        ]
        self.onlooker = Onlooker(self.lanes)
        bells = self._bells()
        self.sentinel_bell = next(bells)
        self.pusher_bell = next(bells)
        self.keeper_bell = next(bells)
        self.monitor_bell = next(bells)
        self.scheduler_bell = next(bells)
        self.main_bell = next(bells)
        self.lane_bells = list(bells)

    def _bells(self) -> Iterator[Doorbell]:
        lanes = range(HEADER_WORDS, HEADER_WORDS + self._count)
        words = [*range(SLEEPING_FROM, SLEEPING_FROM + BELLS), *lanes]
        for word, path in zip(words, _bell_paths(self.folder, self._count), strict=True):
            sleeping = self.words[word : word + 1]
            yield Doorbell(sleeping, None if self.start_method == FORK else path)

    def __getstate__(self) -> dict[str, Any]:
        assert self.start_method != FORK, "What is inherited need not be pickled."
        if not all(path.exists() for path in _bell_paths(self.folder, self._count)):
            # The sentinel ends over it, and the next one has a board that is whole.
            raise FolderVanished(f"{self.folder} does not hold what this cluster needs any more")
        return {
            "start_method": self.start_method,
            "count": self._count,
            "memory": self._memory,
            "home": self._home,
            "born": self.born,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.start_method = state.pop("start_method")
        self._lay_out(**state)

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
            # Packages are read for it, so not before somebody asks what it is.
            "running": self.onlooker.running,
            "reincarnations": self.reincarnations,
            "task_q_size": self.held,
            "done_q_size": self.uncommitted,
            "recorded": self.recorded,
            "tob": self.born,
        }

    def remove(self) -> None:
        """Delete the folder of large bodies; by main, when everybody has left."""
        self._home.remove()


def _header(count: int) -> int:
    """The bytes before the lanes: the words of the board, on whole pages."""
    size = (HEADER_WORDS + count) * WORD
    return (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE


def _bell_paths(folder: Path, count: int) -> list[Path]:
    return [folder / f"bell-{number}" for number in range(BELLS + count)]


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
