"""The one clock of leases and deadlines: it goes on while the machine is suspended."""

import time

NANOSECONDS = 1_000_000_000

# CLOCK_MONOTONIC stands still in suspend, so that a lease would look alive after waking up.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def now() -> int:
    """Nanoseconds since boot, the same in every process of the machine."""
    return time.monotonic_ns() if _CLOCK is None else time.clock_gettime_ns(_CLOCK)


def after(seconds: float) -> int:
    """The moment `seconds` from now, in nanoseconds since boot."""
    return now() + int(seconds * NANOSECONDS)


def seconds_until(moment: int) -> float:
    """Seconds from now to `moment`; negative when it has passed."""
    return (moment - now()) / NANOSECONDS
