"""The private folder of a cluster's large packages and results.

It goes when the cluster has stopped. What a cluster left that was killed as a whole is removed by
the next one: the lock on the folder ends with the last process that had it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PREFIX = "django-q-bodies-"
YOUNG_SECONDS = 60
"""A folder under this age may have an owner who is about to lock it."""


class PrivateFolder:
    """A folder that nobody else can read, locked as long as a process of the cluster lives.

    A process that is not forked from its maker is given the path, and locks it too.
    """

    _descriptor: int | None = None

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            remove_deserted()
            path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.path = path
        if fcntl is not None:
            self._descriptor = os.open(self.path, os.O_RDONLY)
            # It also keeps systemd-tmpfiles away from a cluster that runs for weeks.
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def __reduce__(self) -> tuple[Any, ...]:
        return PrivateFolder, (self.path,)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def remove_deserted() -> None:
    """Remove this user's folders whose cluster is gone."""
    if fcntl is None:
        return
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            about = path.lstat()
            if about.st_uid == os.getuid() and about.st_mtime < time.time() - YOUNG_SECONDS:
                _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)
