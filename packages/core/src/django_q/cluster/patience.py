"""Waits out a broker or a database that is away: tries again with growing pauses, says so once."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

logger = logging.getLogger("django-q")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0


class Patience:
    """Calls something until it works; says once when that stops, and once when it is back."""

    def __init__(
        self, what: str, *, wait: Callable[[float], None], give_up: Callable[[], bool]
    ) -> None:
        self._what = what
        self._wait = wait
        self._give_up = give_up
        self._pause = 0.0
        self.has_worked = False

    @property
    def is_away(self) -> bool:
        return self._pause > 0

    def call(self, work: Callable[[], T], otherwise: T) -> T:
        """What `work` returns, or `otherwise` when told to give up meanwhile."""
        while True:
            try:
                result = work()
            except Exception as error:  # every client library has its own
                self.lost(error)
                if self._give_up():
                    return otherwise
                self._wait(self._pause * random.uniform(0.5, 1.0))
                if self._give_up():
                    return otherwise
            else:
                self.found()
                return result

    def lost(self, error: Exception) -> None:
        """Count a failure."""
        if not self.is_away:
            logger.error("Lost %s, trying again: %s: %s", self._what, type(error).__name__, error)
        self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)

    def found(self) -> None:
        """Count a success."""
        if self.is_away:
            logger.info("Found %s again", self._what)
        self._pause = 0.0
        self.has_worked = True
