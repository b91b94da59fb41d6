"""What a monitor has seen last, which it goes on showing while nobody can be asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

from django.db import connections

from django_q import databases
from django_q.errors import DjangoQError
from django_q.plugins.listing import in_one_line

T = TypeVar("T")

SHARE = 20
"""Looking takes at most one part in so many of the time: some tables are large."""


class Sight(Generic[T]):
    """Something that is looked at every so many seconds, and may be out of reach."""

    def __init__(self, look: Callable[[], T], seconds: float = 0.0) -> None:
        self._look = look
        self._seconds = seconds
        self._again_at = float("-inf")
        self.seen: T | None = None
        """What was seen last."""
        self.trouble: str | None = None
        """Since when and why nothing is seen."""
        self._since = ""

    def look(self) -> T | None:
        """Look, unless that was done a moment ago, and return what was seen last."""
        began = time.monotonic()
        if began < self._again_at:
            return self.seen
        try:
            self.seen = self._look()
            self.trouble = None
        except Exception as error:  # every database and every client library has its own
            self._missed(error)
        now = time.monotonic()
        self._again_at = now + max(self._seconds, (now - began) * SHARE if self._seconds else 0.0)
        return self.seen

    def _missed(self, error: Exception) -> None:
        if self.trouble is None:
            self._since = f"{datetime.now():%H:%M:%S}"
        told = str(error) if isinstance(error, DjangoQError) else f"{type(error).__name__}: {error}"
        self.trouble = f"Out of reach since {self._since}: {in_one_line(told)}"
        # A connection may be what is broken.
        for using in connections:
            databases.close(using)
