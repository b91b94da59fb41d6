"""The folder of a queue: a package is a file, and what happens to it is a rename.

QUEUE.queue/drafts/    being written, and not enqueued yet
QUEUE.queue/waiting/   to be claimed, now or at a time
QUEUE.queue/claimed/   in the hands of a cluster until its lease ends
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from django_q_broker_filesystem.label import Label

ABANDONED_SECONDS = 3600
"""How old a draft must be for its writer to be dead."""


class QueueFolder:
    """What would be the client of a server, if there were one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, label: Label, content: bytes) -> None:
        """Add a file. Once this has returned, it outlives a power failure."""
        self._make()
        draft = self.path / "drafts" / label.key
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # Only now is there anything to claim, and it is whole.
        draft.rename(self.file(label))
        sync(self.path / "waiting")

    def read(self, label: Label) -> bytes:
        """Return the content of a file."""
        return self.file(label).read_bytes()

    def rename(self, old: Label, new: Label) -> bool:
        """Give a file another label. Did it still have the old one?"""
        try:
            self.file(old).rename(self.file(new))
        except FileNotFoundError:
            return False
        return True

    def remove(self, label: Label) -> bool:
        """Remove a file. Did it still have this label?"""
        try:
            self.file(label).unlink()
        except FileNotFoundError:
            return False
        return True

    def labels(self, *folders: str) -> list[Label]:
        """List what is in these folders, or in both."""
        names: list[str] = []
        for folder in folders or ("waiting", "claimed"):
            with suppress(FileNotFoundError):  # nothing was ever enqueued
                names += os.listdir(self.path / folder)
        return [Label.parse(name) for name in names]

    def remove_abandoned_drafts(self) -> None:
        """Remove what dead producers were writing: their enqueues never returned."""
        for draft in (self.path / "drafts").glob("*"):
            with suppress(FileNotFoundError):
                if time.time() - draft.stat().st_mtime > ABANDONED_SECONDS:
                    draft.unlink()

    def file(self, label: Label) -> Path:
        """Return the path of a file."""
        return self.path / ("claimed" if label.claim else "waiting") / label.name

    def _make(self) -> None:
        if (self.path / "claimed").is_dir():
            return
        # Not its parents: where a disk is not mounted is no place for a queue.
        for folder in ("", "drafts", "waiting", "claimed"):
            (self.path / folder).mkdir(exist_ok=True)
        sync(self.path)
        sync(self.path.parent)


def sync(folder: Path) -> None:
    """Bring the names in a folder to the disk, as fsync does with the content of a file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
