"""What came of a stress test, in one line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

STOP_SECONDS = 15


@dataclass
class Figures:
    """What came of it."""

    database: str
    seed: int
    broker: str = "orm"
    seconds: float = 0
    enqueued: int = 0
    unsure: int = 0
    """Tasks whose `async_task` raised, and which have appeared all the same."""
    kills: Counter[str] = field(default_factory=Counter)
    halts: int = 0
    stops: int = 0
    slowest_stop: float = 0
    hung: int = 0
    redis_kills: int = 0
    restarts: int = 0
    lost_lines: int = 0
    found_lines: int = 0
    other_lines: list[str] = field(default_factory=list)
    ended: int = 0
    """How often a main process ended of itself."""
    stalled: bool = False
    lost: list[str] = field(default_factory=list)
    again: int = 0
    """Tasks that ran again since a death had hit their attempt."""
    twice: list[str] = field(default_factory=list)
    left: int = 0
    """Packages that the broker still has when every task is recorded."""
    orphans: list[str] = field(default_factory=list)
    evidence: str = ""
    """The folder with ledgers and logs, where something was not as it should be."""

    @property
    def extra_lines(self) -> int:
        """Return how many lines of the log are missing or too many."""
        wrong = abs(self.lost_lines - self.restarts) + abs(self.found_lines - self.restarts)
        return wrong + len(self.other_lines)

    @property
    def good(self) -> bool:
        """Return whether everything was as it should be."""
        bad = (self.hung, self.extra_lines, self.ended, self.stalled)
        return not any([*bad, self.lost, self.twice, self.left, self.orphans])

    def line(self) -> str:
        """Return everything in one line."""
        place = self.database if self.broker == "orm" else f"{self.broker} and {self.database}"
        parts = [f"{place}, seed {self.seed}, {self.seconds:.0f} s"]
        if self.kills:
            roles = ", ".join(f"{role} {count}" for role, count in self.kills.most_common())
            parts.append(f"{self.kills.total()} kills ({roles}), {self.halts} halts")
        if self.redis_kills:
            parts.append(f"{self.redis_kills} kills of redis-server")
        if self.stops:
            slowest = f"slowest {self.slowest_stop:.2f} s of {STOP_SECONDS}"
            parts.append(f"{self.stops} stops ({slowest})")
        if self.restarts:
            lines = f"{self.lost_lines} lost, {self.found_lines} back, {len(self.other_lines)} else"
            parts.append(f"{self.restarts} restarts of the server (lines of the log: {lines})")
        if self.ended:
            parts.append(f"ended of itself {self.ended}")
        if self.stalled:
            parts.append("STALLED")
        enqueued = f"{self.enqueued:,} enqueued"
        parts.append(f"{enqueued} ({self.unsure} unsure)" if self.unsure else enqueued)
        parts.append(
            f"hung {self.hung}, lost {len(self.lost)}, orphan processes {len(self.orphans)}, "
            f"packages left {self.left}, "
            f"run again after a death {self.again}, run twice {len(self.twice)}"
        )
        return "; ".join(parts)
