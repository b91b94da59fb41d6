"""Queues the next tasks of chains, where the broker is not in the results' transaction.

A task stays claimed until the next one is queued. The others do not wait for that: a broker that
is full has room again only when what is done is acknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from django_q import records
from django_q.cluster import clock
from django_q.cluster.clerk import Entry
from django_q.cluster.patience import Patience

LONGEST_NAP = 1.0


class Links:
    """The links that the broker has not taken yet, in order."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._waiting: deque[Entry] = deque()
        self._not_before = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, entry: Entry) -> None:
        """Let a result's link be queued before the result is settled."""
        entry.awaits_link = True
        self._waiting.append(entry)

    def queue(self, put: Callable[[records.Link], None]) -> list[Entry]:
        """Queue what waits, unless the broker failed a moment ago; whose links are queued now."""
        queued: list[Entry] = []
        while self._waiting and clock.now() >= self._not_before:
            entry = self._waiting[0]
            assert entry.outcome.link is not None, "Only what has a link is added."
            try:
                put(entry.outcome.link)
            except Exception as error:  # every client library has its own
                self.patience.lost(error)
                self._not_before = clock.after(self.patience.pause)
                break
            self.patience.found()
            self._waiting.popleft()
            entry.awaits_link = False
            queued.append(entry)
        return queued

    def nap(self) -> float:
        """Seconds until there may be something to queue."""
        if not self._waiting:
            return LONGEST_NAP
        return min(max(clock.seconds_until(self._not_before), 0.0), LONGEST_NAP)
