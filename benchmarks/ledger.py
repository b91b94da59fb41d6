"""What has run, and when: the file to which every task of a measurement appends a line."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOOK_SECONDS = 0.02
STALL_SECONDS = 90


class Ledger:
    """A file of lines `label nanoseconds`, written by the tasks themselves."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger"

    def size(self) -> int:
        """Return how long it is, which changes with every run."""
        return self.path.stat().st_size if self.path.exists() else 0

    def runs(self) -> list[tuple[int, int]]:
        """Return (label, nanoseconds) of every run, in order."""
        if not self.path.exists():
            return []
        pairs = (line.split() for line in self.path.read_text().splitlines())
        return [(int(label), int(moment)) for label, moment in pairs]

    def wait(self, count: int, is_settled: Callable[[], bool], is_alive: Callable[[], bool]) -> int:
        """Return the moment at which `count` have run and all is settled, or nothing moves."""
        last_size, moved = -1, time.monotonic()
        while time.monotonic() - moved < STALL_SECONDS and is_alive():
            size = self.size()
            if size != last_size:
                last_size, moved = size, time.monotonic()
            elif len(self.runs()) >= count and is_settled():
                break
            time.sleep(LOOK_SECONDS)
        return time.time_ns()

    def figures(self, count: int, finished: int) -> dict[str, Any]:
        """Return how fast `count` tasks were run and settled, what was lost and what ran twice."""
        runs = self.runs()
        labels = Counter(label for label, _ in runs)
        moments = sorted(moment for _, moment in runs) or [finished]
        return {
            "drain_per_second": rate(len(labels), finished - moments[0]),
            "run_per_second": rate(len(runs) - 1, moments[-1] - moments[0]),
            "lost": count - len(labels),
            "twice": sum(times - 1 for times in labels.values()),
        }


def rate(count: int, nanoseconds: int) -> float:
    """Return events per second."""
    return count / (nanoseconds / 1e9) if nanoseconds > 0 else 0.0
