"""What is known of a package, written into the name of its file.

A file is renamed in one step, and of those who rename the same file only one succeeds: so each
change of a label is atomic, and no lock is needed.
"""

from __future__ import annotations

from typing import NamedTuple


class Label(NamedTuple):
    """The name of a file in the folder `waiting` or `claimed`."""

    key: str
    """The package's own name, which never changes; keys sort by the time of their enqueue."""
    priority: int
    due: int
    """The time from which it may be claimed: for a claimed package, the end of its lease."""
    lapses: int = 0
    attempts: int = 0
    claim: str = ""
    """The name of the claim that holds it; empty while it waits."""

    @classmethod
    def parse(cls, name: str) -> Label:
        """Read the name of a file."""
        key, priority, due, lapses, attempts, claim = name.split("_")
        return cls(key, int(priority), int(due), int(lapses), int(attempts), claim)

    @property
    def name(self) -> str:
        """The name of the file."""
        return "_".join(map(str, self))

    @property
    def receipt(self) -> str:
        """What a claim hands out: the same for as long as the claim lasts, extended or not."""
        return f"{self.key}.{self.claim}"

    @property
    def rank(self) -> tuple[int, int, str]:
        """Sorts by priority, then by how long it could have been claimed, then by its enqueue."""
        return -self.priority, self.due, self.key
