"""The two clocks of the broker: one for leases, and the time of day for delays."""

from __future__ import annotations

import time

# CLOCK_MONOTONIC stands still in suspend, so that a lease would look alive after waking up.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def since_boot() -> float:
    """Seconds since boot, the same in every process of the machine."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def time_of_day() -> float:
    """Seconds since 1970, as the producers of delayed work count them too."""
    return time.time()
