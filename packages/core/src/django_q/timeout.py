"""Ends a task that runs longer than it may, by SIGALRM."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from django_q.conf import logger
from django_q.errors import TimeoutException

__all__ = ["TimeoutException", "TimeoutHandler"]

LONGEST = 10.0**8
"""Three years: what the kernel's timer certainly takes."""


class TimeoutHandler:
    """Raises TimeoutException in its block after `timeout` seconds; None and -1 mean no limit.

    Works in the main thread of a process on platforms with SIGALRM. Elsewhere the block just
    runs, and the cluster ends an overdue worker from outside.
    """

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout
        self._previous: Any = None
        self._is_armed = False

    def raise_timeout_exception(self, signum: int, frame: FrameType | None) -> None:
        raise TimeoutException(f"Task exceeded maximum timeout value ({self.timeout} seconds)")

    def __enter__(self) -> TimeoutHandler:
        if self.timeout is None or self.timeout == -1:
            return self
        if not can_interrupt():
            logger.debug("SIGALRM is not available here; the timeout is kept from outside.")
            return self
        self._previous = signal.signal(signal.SIGALRM, self.raise_timeout_exception)
        self._is_armed = True
        signal.setitimer(signal.ITIMER_REAL, min(self.timeout, LONGEST))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disarm()

    def disarm(self) -> None:
        """Stop the clock and give SIGALRM back to whoever had it; again is harmless."""
        if not self._is_armed:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._is_armed = False
        # None: the earlier handler was not installed from Python, so it cannot be put back.
        signal.signal(signal.SIGALRM, signal.SIG_DFL if self._previous is None else self._previous)


def can_interrupt() -> bool:
    """Can this thread be interrupted by a timer?"""
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
