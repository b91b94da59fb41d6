"""The time by which leases are counted: the database server's, where it is another machine."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

from django.db import connections

logger = logging.getLogger("django-q")

MEASURED_SECONDS = 60.0
TOLERATED = timedelta(seconds=1)

SERVER_TIME = {
    "postgresql": "SELECT clock_timestamp()",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "oracle": "SELECT SYS_EXTRACT_UTC(SYSTIMESTAMP) FROM dual",
}


class Clock:
    """This machine's time, corrected by what the server's differs: measured once a minute."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.offset = timedelta(0)
        self._measured_at: float | None = None
        self._warned = False

    def now(self) -> datetime:
        """The server's time."""
        if self._is_stale():
            self._measure()
        return self.guess()

    def guess(self) -> datetime:
        """The server's time as far as it is known without asking."""
        return datetime.now(UTC) + self.offset

    def _is_stale(self) -> bool:
        last = self._measured_at
        return last is None or time.monotonic() - last > MEASURED_SECONDS

    def _measure(self) -> None:
        connection = connections[self.alias]
        statement = SERVER_TIME.get(connection.vendor)
        if statement is not None:
            before = datetime.now(UTC)
            with connection.cursor() as cursor:
                cursor.execute(statement)
                server: datetime = cursor.fetchone()[0]
            after = datetime.now(UTC)
            if server.tzinfo is None:
                server = server.replace(tzinfo=UTC)
            self.offset = server - (before + (after - before) / 2)
            self._warn()
        self._measured_at = time.monotonic()

    def _warn(self) -> None:
        if abs(self.offset) > TOLERATED and not self._warned:
            self._warned = True
            logger.warning(
                "The clocks of this machine and of database %r differ by %.1f seconds: set both "
                "by NTP. Leases follow the database's clock.",
                self.alias,
                self.offset.total_seconds(),
            )
