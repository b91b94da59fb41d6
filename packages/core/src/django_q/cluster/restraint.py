"""Slows down the replacement of processes that die one after the other."""

from __future__ import annotations

import time
from collections import deque

DEATHS_IN_A_ROW = 3
DEATHS_SECONDS = 10
"""This many deaths in this time make a pause before the next replacement."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class Restraint:
    """For one kind of process: where it cannot live, the others are still replaced at once."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque(maxlen=DEATHS_IN_A_ROW)
        self._pause = 0.0
        self._until = 0.0

    @property
    def seconds_left(self) -> float:
        """How long nothing shall be started; not positive when something may be."""
        return self._until - time.monotonic()

    def count_death(self) -> None:
        """Count a death that nobody wanted."""
        now = time.monotonic()
        self._deaths.append(now)
        if len(self._deaths) == DEATHS_IN_A_ROW and now - self._deaths[0] < DEATHS_SECONDS:
            self.hold_back()
        else:
            self._pause = 0.0

    def hold_back(self) -> None:
        """Start nothing for a while, longer each time."""
        self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
        self._until = time.monotonic() + self._pause
