"""The time between the death of a sentinel and the start of the next one."""

from __future__ import annotations

import contextlib
import os
import signal

from django_q.cluster import clock
from django_q.cluster.board import Board, is_running

LEAVE_SECONDS = 2
"""How long a dead sentinel's children, who must leave at once, are given before they are ended."""

LOOK_SECONDS = 0.01
"""How often they are looked for: they are nobody's children here, so nothing tells."""


class Vacancy:
    """Ends when the dead sentinel's children have left and then a pause has passed."""

    def __init__(self, board: Board, pause: float = 0) -> None:
        self._board = board
        self._pause = pause
        self._kill_at = clock.after(LEAVE_SECONDS)
        self._ends_at: int | None = None

    def is_cleared(self) -> bool:
        """Have they all left? Those that are late are ended, and what they held is released."""
        if self._ends_at is not None:
            return True
        left = [pid for pid in self._board.pids() if is_running(pid)]
        if left:
            if clock.now() > self._kill_at:
                _kill(left)
            return False
        self._board.remove()
        self._ends_at = clock.after(self._pause)
        return True

    @property
    def is_over(self) -> bool:
        """May the next sentinel start?"""
        return self._ends_at is not None and clock.now() >= self._ends_at

    def nap(self) -> float:
        """Seconds until there is something to look at."""
        return (
            LOOK_SECONDS if self._ends_at is None else max(0.0, clock.seconds_until(self._ends_at))
        )


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
