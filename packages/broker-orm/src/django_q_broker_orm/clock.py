"""The time by which leases are counted: the database server's, where it is another machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.db import connections

logger = logging.getLogger("django-q")

MEASURED_SECONDS = 60.0
TOLERATED = timedelta(seconds=1)

SERVER_TIME = {
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "oracle": "SELECT SYS_EXTRACT_UTC(SYSTIMESTAMP) FROM dual",
}

_CLOCK = "_django_q_clock"


def host_time() -> datetime:
    """What this machine's clock says."""
    return datetime.now(UTC)


def clock_for(alias: str) -> Clock:
    """The clock of this thread's connection: all that use it share what was measured."""
    connection = connections[alias]
    clock: Clock | None = getattr(connection, _CLOCK, None)
    if clock is None:
        clock = Clock(alias)
        setattr(connection, _CLOCK, clock)
    return clock


class Clock:
    """This machine's time, corrected by what the server's differs: measured once a minute."""

    def __init__(self, alias: str, host_time: Callable[[], datetime] = host_time) -> None:
        self.alias = alias
        self.offset = timedelta(0)
        self._host_time = host_time
        self._measured_at: float | None = None
        self._warned = False

    def now(self) -> datetime:
        """The server's time."""
        if self._is_stale():
            self._measure()
        return self._host_time() + self.offset

    def forget(self) -> None:
        """Measure again: the next connection may lead to another server."""
        self._measured_at = None

    def warn_once(self) -> None:
        """Tell of a difference that somebody should mend."""
        if abs(self.offset) > TOLERATED and not self._warned:
            self._warned = True
            logger.warning(
                "The clocks of this machine and of database %r differ by %.1f seconds: set both "
                "by NTP. Leases follow the database's clock.",
                self.alias,
                self.offset.total_seconds(),
            )

    def _is_stale(self) -> bool:
        last = self._measured_at
        return last is None or time.monotonic() - last > MEASURED_SECONDS

    def _measure(self) -> None:
        connection = connections[self.alias]
        statement = SERVER_TIME.get(connection.vendor)
        if statement is not None:
            before = self._host_time()
            with connection.cursor() as cursor:
                cursor.execute(statement)
                server: datetime = cursor.fetchone()[0]
            after = self._host_time()
            if server.tzinfo is None:
                server = server.replace(tzinfo=UTC)
            self.offset = server - (before + (after - before) / 2)
        self._measured_at = time.monotonic()
