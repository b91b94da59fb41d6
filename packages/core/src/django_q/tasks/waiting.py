"""Waits for an answer that another process will write, asking seldom enough to be cheap."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_PAUSE = 0.002
GROWTH = 1.35
LONGEST_PAUSE = 0.25
"""18 questions in the first second and 4 in each one after, the last at the deadline itself."""


def until(
    ask: Callable[[], T | None],
    wait: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> T | None:
    """Ask until the answer is not None, for `wait` milliseconds; 0: once, -1: for ever."""
    began = clock()
    delay = FIRST_PAUSE
    while True:
        answer = ask()
        if answer is not None:
            return answer
        left = began + wait / 1000 - clock() if wait >= 0 else delay
        if left <= 0:
            return None
        pause(min(delay, left))
        delay = min(delay * GROWTH, LONGEST_PAUSE)
